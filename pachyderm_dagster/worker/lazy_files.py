"""Files of a datum as named pipes, which are filled when user code opens them: what it does not read is not fetched."""

import contextlib
import itertools
import os
import select
import threading
from dataclasses import dataclass, field

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.storage.content import Content, ContentReader

MOST_FILES = 10_000
"""Each has a thread that waits for its reader; Pachyderm 1.x took as many."""
_STACK_BYTES = 512 << 10
_POKE_SECONDS = 0.005
_ROOM_MILLISECONDS = 100


@dataclass(slots=True)
class _Pipe:
    """A pipe by two names: `path`, which user code sees and may remove, and `own`, by which its thread can always be woken."""

    path: str
    own: str
    content: Content
    thread: threading.Thread | None = None


@dataclass(slots=True)
class LazyFiles:
    """The named pipes of a datum, for one try after another: `add` all, `open`, run user code, `close`.

    Args:
        folder: for the second names, on the file system of the datum's folder; used by this object alone.
        reader: may be used by several threads.

    Attributes:
        read_bytes: what user code took out of pipes so far.
    """

    folder: str
    reader: ContentReader
    read_bytes: int = 0
    _pipes: list[_Pipe] = field(default_factory=list)
    _closing: bool = False
    _failure: PachydermError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, root: str, path: str, content: Content) -> None:
        """Makes the pipe `path` below the folder `root`.

        Raises:
            ExecutionError: `stage-failed`, when there are too many.
            OSError: it cannot be made.
        """
        if len(self._pipes) == MOST_FILES:
            raise ExecutionError("stage-failed", f"a datum has more than {MOST_FILES:,} lazy files; choose a glob that makes smaller datums, or remove 'lazy'")
        os.makedirs(self.folder, exist_ok=True)
        own = self._new_pipe()
        os.link(own, root + path)
        self._pipes.append(_Pipe(path, own, content))

    def open(self, root: str) -> None:
        """Fills from now on whatever is opened; the pipes are below `root` now.

        Raises:
            ExecutionError: `stage-failed`, when the system gives no more threads.
        """
        self._closing = False
        before = threading.stack_size(_STACK_BYTES)
        try:
            for pipe in self._pipes:
                thread = threading.Thread(target=self._serve, args=(pipe, root), name="lazy", daemon=True)
                thread.start()
                pipe.thread = thread
        except RuntimeError as error:
            problem = f"the system gives no thread for each of {len(self._pipes)} lazy files; raise its limit of processes, or make smaller datums"
            raise ExecutionError("stage-failed", problem) from error
        finally:
            threading.stack_size(before)

    def close(self) -> None:
        """Ends the filling, for which no reader may be left, and forgets the pipes.

        Raises:
            PachydermError: a content could not be read, so that user code saw only a part of it.
        """
        self._closing = True
        for pipe in self._pipes:
            _end(pipe)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(pipe.own)
        self._pipes = []
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _serve(self, pipe: _Pipe, root: str) -> None:
        is_there = True
        while is_there:
            # Waits for a reader.
            descriptor = os.open(pipe.own, os.O_WRONLY | os.O_CLOEXEC)
            try:
                if self._closing:
                    return
                # Before this reader sees the end: whoever opens the file next must not read on in its pipe.
                is_there = self._renew(pipe, root, descriptor)
                self._fill(pipe.content, descriptor)
            finally:
                os.close(descriptor)

    def _fill(self, content: Content, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        try:
            for piece in self.reader.stream(content):
                view = memoryview(piece)
                while view and not self._closing:
                    written = _write(descriptor, view)
                    view = view[written:]
                    with self._lock:
                        self.read_bytes += written
        except BrokenPipeError:
            # The reader has seen enough.
            pass
        except PachydermError as error:
            self._failure = error

    def _renew(self, pipe: _Pipe, root: str, descriptor: int) -> bool:
        """Puts a fresh pipe in the place of one that is being read; false when user code took that away."""
        path, used = root + pipe.path, pipe.own
        try:
            if not os.path.samestat(os.lstat(path), os.fstat(descriptor)):
                return False
            own = self._new_pipe()
            moved = f"{own}.new"
            os.link(own, moved)
            os.rename(moved, path)
        except OSError:
            return False
        pipe.own = own
        os.unlink(used)
        return True

    def _new_pipe(self) -> str:
        with self._lock:
            path = f"{self.folder}/{next(self._names)}"
        os.mkfifo(path, 0o666)
        return path


def _write(descriptor: int, view: memoryview) -> int:
    """Writes what the pipe takes, after a short wait for room in it; a reader that stays for the next datum may never take more."""
    try:
        return os.write(descriptor, view)
    except BlockingIOError:
        room = select.poll()
        room.register(descriptor, select.POLLOUT)
        room.poll(_ROOM_MILLISECONDS)
        return 0


def _end(pipe: _Pipe) -> None:
    """Wakes the thread of a pipe, which is waiting for a reader or about to, until it has ended."""
    while pipe.thread is not None and pipe.thread.is_alive():
        with contextlib.suppress(FileNotFoundError):
            # Closed at once: a thread that is still writing must find that nobody reads.
            os.close(os.open(pipe.own, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        pipe.thread.join(_POKE_SECONDS)
