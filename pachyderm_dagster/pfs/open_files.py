"""Contents as files: read from anywhere in one, write one piece by piece."""

import contextlib
import io
import itertools
import warnings
from bisect import bisect_right
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.storage.chunks import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, chunk_buffer
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter, hash_of_chunks
from pachyderm_dagster.storage.objects import Ref

LARGE_READ_BYTES = 256 * 1024
"""What asks for more gets just that: whoever reads so much at once knows what it wants."""
_FIRST_AHEAD = 64 * 1024


class ReadableContent(io.BufferedIOBase):
    """A content to read from. It never changes, so that neither does what is read.

    Fetched is what is asked for, and after small reads some more: 64 KiB at first, twice as much each time when they follow one another, whole chunks in
    the end. A content of less than a chunk is fetched as one. Whatever is fetched as a whole chunk, or as a whole content, is verified.

    Attributes:
        size: in bytes.
        name: what it was opened as, for messages.
    """

    def __init__(self, reader: ContentReader, content: Content, name: str = "") -> None:
        self.size = content.size
        self.name = name
        self._reader = reader
        self._content = content
        self._ends = list(itertools.accumulate(ref.length for ref in content.refs))
        self._position = 0
        self._window = b""
        self._window_start = 0
        self._ahead = _FIRST_AHEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"whence is 0, 1 or 2; found {whence}")
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError(f"a file has no position {position}")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        self._check_open()
        end = self.size if size is None or size < 0 else min(self._position + size, self.size)
        if end <= self._position:
            return b""
        head = self._from_window(end)
        if self._position == end:
            return head
        if self.size >= MIN_CHUNK_BYTES and end - self._position > LARGE_READ_BYTES:
            rest = self._fetch(self._position, end)
            self._position = end
        else:
            self._fill_window(end)
            rest = self._from_window(end)
        return head + rest if head else rest

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size if size >= 0 else _FIRST_AHEAD)

    def peek(self, size: int = 0, /) -> bytes:
        """What comes next, without moving on: at least a byte, unless the end is reached."""
        self._check_open()
        if not self._window_start <= self._position < self._window_start + len(self._window) and self._position < self.size:
            self._fill_window(self._position + 1)
        return self._window[self._position - self._window_start :] if self._position >= self._window_start else b""

    def _from_window(self, end: int) -> bytes:
        """What the window has from the position on, up to `end`; moves behind it."""
        start = self._position - self._window_start
        if not 0 <= start < len(self._window):
            return b""
        found = self._window[start : end - self._window_start]
        self._position += len(found)
        return found

    def _fill_window(self, end: int) -> None:
        """Fetches a window that begins at the position and reaches at least to `end`."""
        start = self._position
        if self.size < MIN_CHUNK_BYTES:
            self._window_start, self._window = 0, self._fetch(0, self.size)
            return
        if self._window and start == self._window_start + len(self._window):
            self._ahead *= 2
        else:
            self._ahead = _FIRST_AHEAD
        if self._ahead >= MIN_CHUNK_BYTES:
            self._ahead = MIN_CHUNK_BYTES
            stop = self._ends[bisect_right(self._ends, start)]
        else:
            stop = start + self._ahead
        self._window_start, self._window = start, self._fetch(start, min(max(stop, end), self.size))

    def _fetch(self, start: int, end: int) -> bytes:
        return b"".join(self._reader.stream(self._content, start, end - start))

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


class GrowingContent:
    """A content that is stored as its bytes come: equal to what one write of them all makes. Holds at most two chunks in memory."""

    def __init__(self, writer: ContentWriter) -> None:
        self._writer = writer
        self._waiting = bytearray()
        self._refs: list[Ref] = []
        self._size = 0

    def write(self, data: Buffer) -> None:
        """Adds bytes at the end."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), MAX_CHUNK_BYTES):
            self._waiting += view[at : at + MAX_CHUNK_BYTES]
            while len(self._waiting) >= MAX_CHUNK_BYTES:
                self._store_chunk()

    def finish(self) -> Content:
        """The content; durable once the writer was flushed."""
        while len(self._waiting) > MIN_CHUNK_BYTES:
            self._store_chunk()
        last = self._writer.write(bytes(self._waiting))
        if not self._refs:
            return last
        refs = (*self._refs, *last.refs)
        ids = [ref.object for ref in self._refs] + ([last.hash] if last.refs else [])
        return Content(hash_of_chunks(ids), self._size + last.size, refs)

    def _store_chunk(self) -> None:
        """Stores the first chunk of what waits, which reaches MAX_CHUNK_BYTES or the end of the content, so that the cut is the one of the whole content."""
        with memoryview(self._waiting) as waiting, waiting[:MAX_CHUNK_BYTES] as first:
            chunk = bytes(next(chunk_buffer(first)))
        del self._waiting[: len(chunk)]
        stored = self._writer.write(chunk)
        self._refs += stored.refs
        self._size += stored.size


class WritableContent(io.BufferedIOBase):
    """A content to write to; closing it hands the content on.

    A `with` block that raises discards it, and so does forgetting to close it, with a `ResourceWarning`. In a forked child, writing and closing raise
    StateError `writer-forked`.

    Args:
        on_close: gets the content.
        on_discard: is called instead when there will be none.
        lock: held while the writer, which others may use too, is in use.
    """

    def __init__(
        self,
        writer: ContentWriter,
        lock: contextlib.AbstractContextManager[Any],
        on_close: Callable[[Content], None],
        on_discard: Callable[[], None],
        name: str = "",
    ) -> None:
        self.name = name
        self._writer = writer
        self._content = GrowingContent(writer)
        self._lock = lock
        self._on_close = on_close
        self._on_discard = on_discard
        self._position = 0
        self._over = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("the file is closed")
        self._writer.process.check()  # before the lock, which another thread may have held when this process was forked
        view = memoryview(data).cast("B")
        with self._lock:
            self._content.write(view)
        self._position += len(view)
        return len(view)

    def close(self) -> None:
        if self._over:
            return
        self._over = True
        super().close()
        try:
            self._writer.process.check()
            with self._lock:
                content = self._content.finish()
        except BaseException:
            self._on_discard()
            raise
        self._on_close(content)

    def discard(self) -> None:
        """Closes the file without handing anything on."""
        if not self._over:
            self._over = True
            super().close()
            self._on_discard()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self._over:
            warnings.warn("a file was written to and never closed; nothing of it was kept", ResourceWarning, source=self, stacklevel=2)
            self.discard()


class WritableText(io.TextIOWrapper):
    """Text over a `WritableContent`, discarded as that is."""

    def __init__(self, content: WritableContent, *, encoding: str = "utf-8", newline: str | None = "", errors: str | None = None) -> None:
        self._target = content
        super().__init__(content, encoding=encoding, newline=newline, errors=errors, write_through=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is not None:
            self._target.discard()
        self.close()

    def __del__(self) -> None:
        # Before the wrapper's own end, which would close, and so keep, what was never closed.
        self._target.__del__()
