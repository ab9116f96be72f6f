"""What Pachyderm 1.x wrote, as bytes: frames with a length before each, protobuf within, snappy around."""

import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.streams import WholeReads
from pachyderm_dagster.storage.chunks import Readable

Value: TypeAlias = int | bytes
Fields: TypeAlias = Mapping[int, list[Value]]
"""The values of a message by field number: numbers as they are on the wire, everything else as bytes."""

_LENGTH = struct.Struct("<q")
_LONGEST_FRAME = 1 << 31
_SNAPPY_BEGIN = b"\xff\x06\x00\x00sNaPpY"
_SNAPPY = pa.Codec("snappy")
_CRC_BYTES = 4
_PIECE_BYTES = 1 << 20


def fields_of(message: bytes) -> dict[int, list[Value]]:
    """The fields of a protobuf message.

    Raises:
        InvalidError: `import-invalid`, for bytes that are none.
    """
    found: dict[int, list[Value]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        # The kinds of the wire: numbers of variable length, of 8 bytes, bytes with their length, numbers of 4 bytes.
        match tag & 7:
            case 0:
                value: Value
                value, at = _varint(message, at)
            case 1:
                value, at = _piece(message, at, 8)
            case 2:
                length, at = _varint(message, at)
                value, at = _piece(message, at, length)
            case 5:
                value, at = _piece(message, at, 4)
            case kind:
                raise _invalid(f"a field of kind {kind}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def text_of(fields: Fields, number: int) -> str:
    """A text field; empty when it is not there."""
    value = bytes_of(fields, number)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"{value[:40]!r} where a text should be") from error


def bytes_of(fields: Fields, number: int) -> bytes:
    """A field of bytes; empty when it is not there."""
    value = fields.get(number, [b""])[-1]
    if not isinstance(value, bytes):
        raise _invalid(f"a number in field {number}, which has none")
    return value


def number_of(fields: Fields, number: int) -> int:
    """A field that is a number; 0 when it is not there."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise _invalid(f"bytes in field {number}, which is a number")
    return value


def message_of(fields: Fields, number: int) -> dict[int, list[Value]] | None:
    """A field that is a message; None when it is not there."""
    return fields_of(bytes_of(fields, number)) if number in fields else None


def messages_of(fields: Fields, number: int) -> list[dict[int, list[Value]]]:
    """The messages of a repeated field."""
    return [fields_of(value) for value in fields.get(number, ()) if isinstance(value, bytes)]


def read_framed(source: Readable) -> Iterator[bytes]:
    """What lies in a stream, each behind its length in 8 bytes, little endian.

    Raises:
        InvalidError: `import-invalid`, when it ends in the middle of one, or has a length that nothing has.
    """
    whole = WholeReads(source)
    while head := whole.read(_LENGTH.size):
        if len(head) < _LENGTH.size:
            raise _invalid("an end in the middle of a length")
        (length,) = _LENGTH.unpack(head)
        if not 0 <= length < _LONGEST_FRAME:
            raise _invalid(f"a length of {length:,} bytes")
        body = whole.read(length)
        if len(body) < length:
            raise _invalid(f"an end after {len(body):,} of {length:,} bytes: the file was cut off")
        yield body


def unsnapped(source: Readable) -> Iterator[bytes]:
    """A stream in pieces, without the snappy frames around it if there are any (framing_format.txt of google/snappy).

    Their CRC-32C is not looked at: objects are compared with their SHA-512.
    """
    whole = WholeReads(source)
    begin = whole.read(len(_SNAPPY_BEGIN))
    if begin != _SNAPPY_BEGIN:
        yield begin
        yield from iter(lambda: source.read(_PIECE_BYTES), b"")
        return
    while head := whole.read(4):
        kind, length = head[0], int.from_bytes(head[1:], "little")
        body = whole.read(length)
        if len(head) < 4 or len(body) < length:
            raise _invalid("an end in the middle of a snappy frame: the file was cut off")
        yield _unpacked(kind, body)


def is_snappy(data: bytes) -> bool:
    """Whether bytes begin as snappy's frames do."""
    return data.startswith(_SNAPPY_BEGIN)


def _unpacked(kind: int, body: bytes) -> bytes:
    if kind == 1:
        return body[_CRC_BYTES:]
    if kind >= 0x80:
        return b""  # padding, or the beginning of another stream
    if kind != 0:
        raise _invalid(f"a snappy frame of kind {kind}")
    block = body[_CRC_BYTES:]
    length, _ = _varint(block, 0)
    try:
        return bytes(_SNAPPY.decompress(block, length, asbytes=True))
    except OSError as error:
        raise _invalid("a snappy frame that cannot be unpacked") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _invalid("a number that does not end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _piece(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(data):
        raise _invalid("a field that is longer than its message")
    return data[at : at + length], at + length


def _invalid(found: str) -> InvalidError:
    return InvalidError("import-invalid", f"this is not what `pachctl extract` of Pachyderm 1.x writes: it has {found}")
