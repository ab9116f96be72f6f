"""The form of an extract: a line that says what it is, then frames, each behind a checksum that hangs on all frames before it.

A frame is a head of 24 bytes (kind, how the body is written, length of the name, length of the body as it was and as it is written, CRC-32 of these), the
name, the body, and 32 bytes of BLAKE3 over the check of the frame before (zeros before the first), the head, the name and the body. The last frame says so;
a file without it is torn. Numbers are unsigned and little endian.
"""

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pachyderm_dagster.codec import DIGEST_BYTES, Buffer, digest
from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.pfs.streams import WholeReads
from pachyderm_dagster.storage.chunks import Readable

MARKER = b"pachyderm-dagster extract "
VERSION = 1
_HEAD = struct.Struct("<BBHQQ")
_CRC = struct.Struct("<I")
_TAG = "extract-frame"
_ZSTD = pa.Codec("zstd", compression_level=1)
_LONGEST_LINE = 80
_PLAIN, _COMPRESSED = 0, 1
# What compresses by less than a sixteenth is kept as it is: reading it costs nothing then.
_WORTH_IT = 16


class FrameKind(enum.IntEnum):
    """What a frame holds."""

    HEADER = 1  # where the extract is from, and what schema its rows are of: the first frame
    OBJECT = 2  # an object of the store; its name is the id
    LISTING = 3  # ids and sizes of objects that lie beside the extract
    ROWS = 4  # rows of the record
    END = 5  # how much there was: the last frame


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was given to the writer, `place` the byte of the file where it begins."""

    kind: FrameKind
    name: bytes
    body: bytes
    place: int = 0


class FrameEncoder:
    """Turns frames into the bytes of an extract, one after another."""

    def __init__(self) -> None:
        self._check = bytes(DIGEST_BYTES)

    def begin(self) -> bytes:
        """What stands before the first frame."""
        return MARKER + b"%d\n" % VERSION

    def encode(self, kind: FrameKind, name: bytes, body: Buffer) -> list[Buffer]:
        """The bytes of one frame, in parts."""
        packed = _ZSTD.compress(body, asbytes=True) if len(body) else b""
        is_worth_it = len(packed) < len(body) - len(body) // _WORTH_IT
        written: Buffer = packed if is_worth_it else body
        head = _HEAD.pack(kind, _COMPRESSED if is_worth_it else _PLAIN, len(name), len(body), len(written))
        head += _CRC.pack(zlib.crc32(head))
        self._check = digest(_TAG, [self._check, head, name, written])
        return [head, name, written, self._check]


def read_frames(source: Readable, where: str) -> Iterator[Frame]:
    """The frames of an extract up to its last; each is checked before it is given. `where` names the extract in messages.

    Raises:
        StateError: `extract-format`, when it is none, or of a later version.
        StorageError: `extract-torn`, when it ends before its last frame; `extract-corrupt`.
    """
    reader = _Reader(source, where)
    _read_marker(reader)
    check = bytes(DIGEST_BYTES)
    number = 0
    while True:
        place, number = reader.place, number + 1
        told = f"frame {number}, which begins at byte {place:,}"
        head = reader.take(_HEAD.size, told)
        crc = reader.take(_CRC.size, told)
        kind, form, name_length, raw, written = _HEAD.unpack(head)
        if _CRC.unpack(crc)[0] != zlib.crc32(head) or kind not in iter(FrameKind) or form not in (_PLAIN, _COMPRESSED):
            raise _corrupt(where, told)
        name = reader.take(name_length, told)
        body = reader.take(written, told)
        check = digest(_TAG, [check, head + crc, name, body])
        if reader.take(DIGEST_BYTES, told) != check:
            raise _corrupt(where, f"{told} ({_named(FrameKind(kind), name)})")
        yield Frame(FrameKind(kind), name, _ZSTD.decompress(body, raw, asbytes=True) if form == _COMPRESSED else body, place)
        if kind == FrameKind.END:
            return


def _read_marker(reader: "_Reader") -> None:
    line = reader.take_line()
    if not line:
        raise StorageError("extract-torn", f"{reader.where} holds nothing; look what became of the command that was to write it")
    version = line.removeprefix(MARKER).rstrip(b"\n")
    if not line.startswith(MARKER) or not version.isdigit():
        raise StateError("extract-format", f"{reader.where} is no extract: it begins with {line[:40]!r}; give what `pachctl extract` wrote")
    if int(version) != VERSION:
        found = f"version {int(version)}, and this version reads {VERSION}"
        raise StateError("extract-format", f"{reader.where} is an extract of {found}; use the one that wrote it, or a later one")


def _named(kind: FrameKind, name: bytes) -> str:
    return f"object {name.hex()}" if kind is FrameKind.OBJECT else f"{kind.name.lower()} {name.decode(errors='replace')}".rstrip()


def _corrupt(where: str, told: str) -> StorageError:
    return StorageError("extract-corrupt", f"{where} is corrupt in {told}: its checksum differs; get it again from where it came from, or extract again")


class _Reader:
    """Reads exactly so many bytes."""

    def __init__(self, source: Readable, where: str) -> None:
        self.where = where
        self.place = 0
        self._source = WholeReads(source)

    def take(self, size: int, told: str) -> bytes:
        data = self._source.read(size)
        self.place += len(data)
        if len(data) < size:
            end = f"ends after {self.place:,} bytes, in {told}"
            raise StorageError("extract-torn", f"{self.where} {end}: the rest is missing; copy it again, or extract again")
        return data

    def take_line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            byte = self._source.read(1)
            if not byte:
                break
            line += byte
        self.place += len(line)
        return line
