"""What a worker leaves in the volume of its pod for the worker that is started again in its place."""

import contextlib
import os
from pathlib import Path

import msgspec

from pachyderm_dagster.worker.protocol import DatumTask

_RUNNING, _STARTS = "running", "starts"


class Running(msgspec.Struct, frozen=True):
    """The datum that runs: its index in the job, and its id."""

    datum: int
    id: str


class Starts(msgspec.Struct, frozen=True):
    """How often the worker of this pod was started, and how often since it answered a datum."""

    all: int = 0
    vain: int = 0


class PodState:
    """The state of one pod.

    Args:
        folder: in the volume, for the worker alone.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        # One system call a datum each.
        self._running = os.open(self._folder / _RUNNING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.now: Running | None = None

    def find_left(self) -> Running | None:
        """The datum that the worker before this one ran when it was killed."""
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(os.pread(self._running, 1 << 12, 0), type=Running)
        return None

    def begin(self, task: DatumTask) -> None:
        """This datum runs from now on."""
        self.now = Running(task.index, task.id)
        os.ftruncate(self._running, 0)
        os.pwrite(self._running, msgspec.json.encode(self.now), 0)

    def end(self) -> None:
        """None runs."""
        self.now = None
        os.ftruncate(self._running, 0)

    def count_start(self) -> Starts:
        """Counts a start of this worker; how many there were before."""
        before = self._read_starts()
        self._write_starts(Starts(before.all + 1, before.vain + 1))
        return before

    def forget_vain(self) -> None:
        """A datum was answered."""
        found = self._read_starts()
        if found.vain:
            self._write_starts(Starts(found.all, 0))

    def _read_starts(self) -> Starts:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((self._folder / _STARTS).read_bytes(), type=Starts)
        return Starts()

    def _write_starts(self, starts: Starts) -> None:
        new = self._folder / f"{_STARTS}.new"
        new.write_bytes(msgspec.json.encode(starts))
        new.rename(self._folder / _STARTS)
