"""Bytes that come in pieces, as something to read from."""

import io
from collections.abc import Callable, Iterable

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.storage.chunks import Readable


class Pieces:
    """Reads from an iterable of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end only."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = memoryview(piece)
        data, self._piece = bytes(self._piece[:size]), self._piece[size:]
        return data


class WholeReads:
    """A stream whose reads are as long as they are asked to be; shorter at the end only."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """Exactly `size` bytes, fewer at the end."""
        found = []
        while size and (piece := self._stream.read(size)):
            found.append(piece)
            size -= len(piece)
        return b"".join(found)


def as_file(stream: Readable) -> io.BufferedReader:
    """A stream as an open file that cannot seek, for readers of file formats."""
    return io.BufferedReader(_Raw(stream), 1 << 20)


class _Raw(io.RawIOBase):
    def __init__(self, stream: Readable) -> None:
        self._stream = WholeReads(stream)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer, /) -> int:  # type: ignore[override]  # collections.abc.Buffer comes with Python 3.12
        view = memoryview(target)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


class Watched:
    """A stream that tells how many bytes are read from it."""

    def __init__(self, stream: Readable, told: Callable[[int], None]) -> None:
        self._stream = stream
        self._told = told

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end only."""
        data = self._stream.read(size)
        self._told(len(data))
        return data
