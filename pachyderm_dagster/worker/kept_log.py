"""What a process that stays prints, line by line, in files that are kept: for people who look while it runs, and after it was ended in any way."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from pachyderm_dagster.clock import Clock

LOG, OLDER_LOG = "log", "log.1"
KEPT_BYTES = 8 << 20
"""Of each of the two files: the newer one takes the place of the older when it is full."""
_LONGEST_LINE = 1 << 16
# More than the time of a line and the beginning of its text.
_BEGINS_BYTES = 128


class KeptLine(msgspec.Struct, frozen=True):
    """A line: when it came, in seconds since 1970, and the job that it belongs to; a spout has none."""

    time: float
    text: str
    job: str = ""


class KeptLog:
    """Has the lines of one process kept.

    Args:
        keep: takes whole lines, each a `KeptLine` in JSON.
        clock: says when lines came.
    """

    after_seconds = 0.0

    def __init__(self, keep: Callable[[bytes], None], job: str, *, clock: Clock) -> None:
        self._keep, self._job, self._clock = keep, job, clock
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
        if lines:
            now = self._clock.now().timestamp()
            self._keep(b"".join(msgspec.json.encode(KeptLine(now, line.decode(errors="replace"), self._job)) + b"\n" for line in lines))


class LogFiles:
    """Keeps lines in two files of a folder, behind those of the processes before."""

    def __init__(self, folder: str, *, most_bytes: int = KEPT_BYTES) -> None:
        self._path, self._older, self._most = f"{folder}/{LOG}", f"{folder}/{OLDER_LOG}", most_bytes

    def add(self, text: bytes) -> None:
        """Adds whole lines. A log that cannot be written is no reason to end what works."""
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, text)
                is_full = os.fstat(file).st_size >= self._most
            finally:
                os.close(file)
            if is_full:
                os.rename(self._path, self._older)


@dataclass(frozen=True, slots=True)
class _Read:
    """How far a file was read, and what tells that it is the same one: the number of its inode, which a new file may get, and how it begins."""

    inode: int = 0
    begins: bytes = b""
    offset: int = 0

    def offset_in(self, file: BinaryIO) -> int | None:
        """Where this file is to be read on; None when it is another one."""
        same = os.fstat(file.fileno()).st_ino == self.inode and os.pread(file.fileno(), len(self.begins), 0) == self.begins
        return self.offset if same else None


class KeptLines:
    """Reads the lines that are kept, each once.

    Args:
        folder: of the two files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest = _Read()
        """Of the newest file that there was: its name changes, and what came before it was read."""

    def more(self) -> Iterator[KeptLine]:
        """The lines that came since the call before, the oldest first; one that a crash cut off is left out."""
        with contextlib.ExitStack() as opened:
            # The newer one first: when it takes the other's place in between, both are the same file, and none was passed over.
            newer, older = (opened.enter_context(file) if (file := self._open(name)) is not None else None for name in (LOG, OLDER_LOG))
            if newer is not None and older is not None and os.path.sameopenfile(newer.fileno(), older.fileno()):
                older = None
            here = None if newer is None else self._newest.offset_in(newer)
            if older is not None and here is None:
                yield from self._lines(older, self._newest.offset_in(older) or 0)
            if newer is not None:
                yield from self._lines(newer, here or 0)

    def _open(self, name: str) -> BinaryIO | None:
        try:
            return (self._folder / name).open("rb")
        except FileNotFoundError:
            return None

    def _lines(self, file: BinaryIO, start: int) -> Iterator[KeptLine]:
        """The whole lines from there on; this is the newest file then."""
        file.seek(start)
        text = file.read()
        end = start + text.rfind(b"\n") + 1
        self._newest = _Read(os.fstat(file.fileno()).st_ino, os.pread(file.fileno(), min(end, _BEGINS_BYTES), 0), end)
        for line in text[: end - start].splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                yield msgspec.json.decode(line, type=KeptLine)
