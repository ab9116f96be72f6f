"""A folder for the workers of one run, removed with it, or by a later run if this one is killed."""

import contextlib
import fcntl
import os
import tempfile
from types import TracebackType
from typing import Self

from pachyderm_dagster.worker.folders import remove_entry

_PREFIX = "run-"
_LOCK = "lock"


class RunFolder:
    """A new folder below `scratch`. Entering first removes those of runs that are gone: the kernel let go of their locks."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch

    def __enter__(self) -> Self:
        os.makedirs(self._scratch, exist_ok=True)
        for name in os.listdir(self._scratch):
            if name.startswith(_PREFIX):
                _remove_if_gone(f"{self._scratch}/{name}")
        # It gets its name when it is locked, so that no other run takes it for one that is gone.
        new = tempfile.mkdtemp(prefix="new-", dir=self._scratch)
        self._lock = os.open(f"{new}/{_LOCK}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = f"{self._scratch}/{_PREFIX}{os.path.basename(new)}"
        os.rename(new, self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _remove(self.path)
        os.close(self._lock)

    def add(self, name: str) -> str:
        """Makes a folder in it; its path."""
        path = f"{self.path}/{name}"
        os.mkdir(path)
        return path


def _remove_if_gone(folder: str) -> None:
    try:
        lock = os.open(f"{folder}/{_LOCK}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Half removed.
        _remove(folder)
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
        remove_entry(folder)
