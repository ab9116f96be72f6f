"""Cutting bytes by content, so that an insert in the middle changes one chunk or two.

FastCDC 2020 (https://ieeexplore.ieee.org/document/9055082) with 1 MiB at least, about 2 MiB normally, 8 MiB at most. Each cut starts
afresh at the previous one, so cutting may resume at any chunk's start. The parameters are part of the stored format.
"""

import contextlib
import mmap
from collections.abc import Callable, Iterator
from typing import Protocol

from pyfastcdc import FastCDC

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import InvalidError

MIN_CHUNK_BYTES = 1024 * 1024
AVERAGE_CHUNK_BYTES = 2 * 1024 * 1024
MAX_CHUNK_BYTES = 8 * 1024 * 1024
_WINDOW_BYTES = 3 * MAX_CHUNK_BYTES
_SMALL_PAGES_BYTES = MAX_CHUNK_BYTES // 2
_CUTTER = FastCDC(AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_CHUNK_BYTES, normalized_chunking=3, seed=0)


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


def chunk_stream(head: Buffer, stream: Readable, let_go: Callable[[int], None]) -> Iterator[memoryview]:
    """The chunks of `head` followed by what `stream` gives until its end, without copying; holds at most 48 MiB.

    Args:
        let_go: called with a number before chunks are overwritten; only the last so many that were given out stay as they are.
    """
    source = _Source(head, stream)
    # Each stream has its own: chunks of one that failed may still be on their way.
    window, other = _window(), memoryview(b"")
    end = source.read_into(window)
    ended = end < _WINDOW_BYTES
    start = given = 0
    while start < end or not ended:
        available = window[start : min(end, start + MAX_CHUNK_BYTES)]
        length = _cut(available) if available else 0
        # A cut before the end of what is at hand stays whatever follows.
        if length == len(available) < MAX_CHUNK_BYTES and not ended:
            let_go(given)
            window, other = other or _window(), window
            rest = end - start
            window[:rest] = available
            end = rest + source.read_into(window[rest:])
            ended = end < _WINDOW_BYTES
            start = given = 0
            continue
        yield available[:length]
        start += length
        given += 1


def _window() -> memoryview:
    """Memory of which what is not read into costs nothing, as most streams are short: the first pages are small, and the others huge where the system has them.

    Private, for the pages of shared memory take the kernel three times as long as all of the reading.
    """
    window = mmap.mmap(-1, _WINDOW_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        window.madvise(mmap.MADV_HUGEPAGE, _SMALL_PAGES_BYTES, _WINDOW_BYTES - _SMALL_PAGES_BYTES)
    return memoryview(window)


def _cut(view: memoryview) -> int:
    """The length of the first chunk of `view`; all of it when no chunk ends before MAX_CHUNK_BYTES or the end of `view`."""
    return int(next(_CUTTER.cut_buf(view)).length)


class _Source:
    """Bytes in hand, then a stream."""

    def __init__(self, head: Buffer, stream: Readable) -> None:
        self._head = memoryview(head)
        self._read: Callable[[int], bytes | None] = stream.read  # None is what files give that do not block
        self._readinto = getattr(stream, "readinto", None)

    def read_into(self, target: memoryview) -> int:
        """Fills `target`, less only at the end; returns how many bytes. Raises InvalidError `source-unreadable`."""
        filled = min(len(self._head), len(target))
        target[:filled] = self._head[:filled]
        self._head = self._head[filled:]
        while filled < len(target):
            if self._readinto is not None:
                count = _checked_count(self._readinto(target[filled:]), len(target) - filled)
            else:
                wanted = min(len(target) - filled, MIN_CHUNK_BYTES)
                piece = self._read(wanted)
                count = _checked_count(None if piece is None else len(piece), wanted)
                target[filled : filled + count] = piece or b""
            if not count:
                break
            filled += count
        return filled


def _checked_count(count: int | None, wanted: int) -> int:
    """How many bytes a read gave, when it gave bytes or the end.

    Raises:
        InvalidError: `source-unreadable`.
    """
    if count is None:
        raise InvalidError("source-unreadable", "the source has no bytes at the moment and does not wait for them, so that its end is unknown; let it block")
    if count > wanted:
        raise InvalidError("source-unreadable", f"the source gave {count} bytes when asked for at most {wanted}; what is put must read as a binary file does")
    return count
