"""Files of a home that others read, and write too, while one is written: whoever is killed leaves nothing behind that cannot be read."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def name_beside(path: Path, what: str) -> Path:
    """A name beside a file or folder that nobody else has, and that listings leave out."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{what}")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, of which nobody ever sees a part; of several who do so at once the last one counts."""
    new = name_beside(path, "new")
    try:
        new.write_bytes(data)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Holds a lock (`flock`) for a block.

    Raises:
        BlockingIOError: another one holds it, and `kind` says not to wait.
    """
    with open(path, "w") as lock:
        fcntl.flock(lock, kind)
        yield


def read_lines(path: Path) -> list[bytes]:
    """The lines that were appended to a file. A last one that was torn counts for nothing: whoever wrote it was killed, or had no room."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


class LineFile:
    """A file to which whole lines are appended, by one at a time; a torn line at its end is taken off first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def append(self, lines: bytes) -> None:
        """Appends lines, with their ends: all of them or, where there is no room, none."""
        if self._file is None:
            self._file = self._open()
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._file, lines[written:])
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.ftruncate(file, self._path.read_bytes().rfind(b"\n") + 1)
        return file

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
