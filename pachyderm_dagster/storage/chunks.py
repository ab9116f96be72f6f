"""Cutting bytes by content, so that an insert in the middle changes one chunk or two.

FastCDC 2020 (https://ieeexplore.ieee.org/document/9055082) with 1 MiB at least, about 4 MiB normally, 16 MiB at most. Each cut starts
afresh at the previous one, so cutting may resume at any chunk's start. The parameters are part of the stored format.
"""

from collections.abc import Iterator
from typing import Protocol

from pyfastcdc import FastCDC

from pachyderm_dagster.codec import Buffer

MIN_CHUNK_BYTES = 1024 * 1024
AVERAGE_CHUNK_BYTES = 4 * 1024 * 1024
MAX_CHUNK_BYTES = 16 * 1024 * 1024
_WINDOW_BYTES = 3 * MAX_CHUNK_BYTES
_CUTTER = FastCDC(AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_CHUNK_BYTES, normalized_chunking=1, seed=0)


class Readable(Protocol):
    """What bytes are read from: an open binary file, a pipe, a response."""

    def read(self, size: int, /) -> bytes: ...


def chunk_buffer(data: Buffer) -> Iterator[memoryview]:
    """The chunks of `data`, without copying; none if it is empty."""
    view = memoryview(data)
    start = 0
    while start < len(view):
        end = start + _cut(view[start : start + MAX_CHUNK_BYTES])
        yield view[start:end]
        start = end


def chunk_stream(head: Buffer, stream: Readable) -> Iterator[bytes]:
    """The chunks of `head` followed by what `stream` gives until its end; holds at most 48 MiB."""
    source = _Source(head, stream)
    small = source.read(MIN_CHUNK_BYTES + 1)
    if len(small) <= MIN_CHUNK_BYTES:
        if small:
            yield small
        return
    window = memoryview(bytearray(_WINDOW_BYTES))
    window[: len(small)] = small
    start, end, ended = 0, len(small), False
    while start < end or not ended:
        if end - start < MAX_CHUNK_BYTES and not ended:
            rest = end - start
            window[:rest] = bytes(window[start:end])
            end = rest + source.read_into(window[rest:])
            start, ended = 0, end < _WINDOW_BYTES
            continue
        length = _cut(window[start : min(end, start + MAX_CHUNK_BYTES)])
        yield bytes(window[start : start + length])
        start += length


def _cut(view: memoryview) -> int:
    """The length of the first chunk of `view`, which reaches MAX_CHUNK_BYTES or the end of the content."""
    return int(next(_CUTTER.cut_buf(view)).length)


class _Source:
    """Bytes in hand, then a stream."""

    def __init__(self, head: Buffer, stream: Readable) -> None:
        self._head = memoryview(head)
        self._read = stream.read
        self._readinto = getattr(stream, "readinto", None)

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        pieces = [bytes(self._head[:size])]
        self._head = self._head[size:]
        missing = size - len(pieces[0])
        while missing > 0 and (piece := self._read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read_into(self, target: memoryview) -> int:
        """Fills `target`, less only at the end; returns how many bytes."""
        filled = min(len(self._head), len(target))
        target[:filled] = self._head[:filled]
        self._head = self._head[filled:]
        while filled < len(target):
            if self._readinto is not None:
                count = self._readinto(target[filled:])
            else:
                piece = self._read(min(len(target) - filled, MIN_CHUNK_BYTES))
                count = len(piece)
                target[filled : filled + count] = piece
            if not count:
                break
            filled += count
        return filled
