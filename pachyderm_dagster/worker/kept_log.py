"""What a process that stays prints, line by line, in a file that is kept: for people who look while it runs, and after it was ended in any way."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pachyderm_dagster.clock import Clock

LOG, OLDER_LOG = "log", "log.1"
KEPT_BYTES = 8 << 20
"""Of each of the two files: the newer one takes the place of the older when it is full."""
_LONGEST_LINE = 1 << 16


class KeptLine(msgspec.Struct, frozen=True):
    """A line: when it came, in seconds since 1970, and the job that it belongs to; a spout has none."""

    time: float
    text: str
    job: str = ""


class KeptLog:
    """Writes the lines of one process behind those of the processes before it.

    Args:
        folder: of the two files.
        clock: says when lines came.
    """

    after_seconds = 0.0

    def __init__(self, folder: str, job: str, *, clock: Clock, most_bytes: int = KEPT_BYTES) -> None:
        self._path, self._older = f"{folder}/{LOG}", f"{folder}/{OLDER_LOG}"
        self._job, self._clock, self._most = job, clock, most_bytes
        self._begun = bytearray()

    def open(self, so_far: bytes) -> None:
        """Everything was written as it came."""

    def write(self, data: bytes) -> None:
        """Adds what was printed next; a line is there once it is whole, or very long."""
        self._begun += data
        *lines, rest = self._begun.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], bytearray()
        self._begun = rest
        self._add(lines)

    def close(self) -> None:
        """The process has ended."""
        self._add([self._begun] if self._begun else [])
        self._begun = bytearray()

    def _add(self, lines: list[bytearray]) -> None:
        if not lines:
            return
        now = self._clock.now().timestamp()
        text = b"".join(msgspec.json.encode(KeptLine(now, line.decode(errors="replace"), self._job)) + b"\n" for line in lines)
        # A log that cannot be written is no reason to end what works.
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, text)
                is_full = os.fstat(file).st_size >= self._most
            finally:
                os.close(file)
            if is_full:
                os.rename(self._path, self._older)


class KeptLines:
    """Reads the lines that are kept, each once.

    Args:
        folder: of the two files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[int, int] = {}
        """How much was read of the files, by their inodes: names change."""

    def more(self) -> Iterator[KeptLine]:
        """The lines that came since the call before, the oldest first; one that a crash cut off is left out."""
        read: dict[int, int] = {}
        for name in (OLDER_LOG, LOG):
            with contextlib.suppress(FileNotFoundError), (self._folder / name).open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                start = self._read.get(inode, 0)
                file.seek(start)
                text = file.read()
                whole = text.rfind(b"\n") + 1
                read[inode] = start + whole
                for line in text[:whole].splitlines():
                    with contextlib.suppress(msgspec.DecodeError):
                        yield msgspec.json.decode(line, type=KeptLine)
        self._read = read
