"""A folder for the workers of one run, removed with it, or by a later run if this one is killed."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pachyderm_dagster.worker.folders import remove_entry

_PREFIX = "run-"
_OVER = "over-"
_LOCK = "lock"


def _at_once(work: Callable[[], None]) -> None:
    work()


class RunFolder:
    """A new folder below `scratch`. Entering first removes those of runs that are gone: the kernel let go of their locks.

    Args:
        scratch: made where it is missing.
        call: calls what removes the folder, when it is left. It may do so later, in a thread: to remove many small files takes longer than to store them,
            and nobody waits for it.
    """

    def __init__(self, scratch: str, *, call: Callable[[Callable[[], None]], object] = _at_once) -> None:
        self._scratch = scratch
        self._call = call

    def __enter__(self) -> Self:
        os.makedirs(self._scratch, exist_ok=True)
        for name in os.listdir(self._scratch):
            if name.startswith((_PREFIX, _OVER)):
                _remove_if_gone(f"{self._scratch}/{name}")
        lock = None
        while lock is None:
            self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=self._scratch)
            lock = _lock_new(self.path)
        self._lock = lock
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        # Whoever looks for what runs finds it no more, from now on.
        over = f"{self._scratch}/{_OVER}{os.path.basename(self.path).removeprefix(_PREFIX)}"
        with contextlib.suppress(OSError):
            os.rename(self.path, over)
            self.path = over
        self._call(self._end)

    def _end(self) -> None:
        _remove(self.path)
        os.close(self._lock)

    def add(self, name: str) -> str:
        """Makes a folder in it; its path."""
        path = f"{self.path}/{name}"
        os.mkdir(path)
        return path


def _lock_new(folder: str) -> int | None:
    """The lock of a folder that was just made, held; None when another run took the folder for one that is gone, and removed it first."""
    path = f"{folder}/{_LOCK}"
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.exists(path):
        return lock
    os.close(lock)
    return None


def _remove_if_gone(folder: str) -> None:
    try:
        lock = os.open(f"{folder}/{_LOCK}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Almost removed, or just made: then it may get its lock meanwhile, and stays.
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def _remove(folder: str) -> None:
    # What cannot be removed, say a file of another user's, must not fail the run that left it.
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name != _LOCK:
                remove_entry(f"{folder}/{name}")
        # Last, so that a folder without one is empty.
        os.unlink(f"{folder}/{_LOCK}")
        os.rmdir(folder)
