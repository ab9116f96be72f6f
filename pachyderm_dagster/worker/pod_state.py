"""What a worker leaves in the volume of its pod for the worker that is started again in its place."""

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from pachyderm_dagster.worker.protocol import DatumTask

_RUNNING, _STARTS = "running", "starts"
_RECORD_BYTES = 1 << 12
_Kept = TypeVar("_Kept")


class Running(msgspec.Struct, frozen=True):
    """The datum that runs: its job's name on Kubernetes, its index in that, and its id. `told`: until process 1 of its container was sent SIGTERM."""

    job: str
    datum: int
    id: str
    told: bool = False


class Starts(msgspec.Struct, frozen=True):
    """How often the worker of this pod was started, and how often since it answered a datum."""

    all: int = 0
    vain: int = 0


class _Record(Generic[_Kept]):
    """One value in a file that has its room from the beginning: user code may fill the volume. One system call writes it."""

    def __init__(self, path: Path, kind: type[_Kept]) -> None:
        self._kind = kind
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(self._file, 0, _RECORD_BYTES)

    def read(self) -> _Kept | None:
        data = os.pread(self._file, _RECORD_BYTES, 0).rstrip(b"\0")
        return msgspec.json.decode(data, type=self._kind) if data else None

    def write(self, value: _Kept | None) -> None:
        data = b"" if value is None else msgspec.json.encode(value)
        os.pwrite(self._file, data.ljust(_RECORD_BYTES, b"\0"), 0)


class PodState:
    """The state of one pod.

    Args:
        folder: in the volume, for the worker alone.
    """

    def __init__(self, folder: str) -> None:
        self._running = _Record(Path(folder, _RUNNING), Running)
        self._starts = _Record(Path(folder, _STARTS), Starts)
        self.now: Running | None = None

    def find_left(self) -> Running | None:
        """The datum that the worker before this one ran when it was killed, or when the container before this one was sent SIGTERM."""
        return self._running.read()

    def begin(self, job: str, task: DatumTask) -> None:
        """This datum of a job runs from now on."""
        self.now = Running(job, task.index, task.id)
        self._running.write(self.now)

    def note_told(self) -> None:
        """Process 1 of the container was sent SIGTERM: if another container comes in this pod, nobody ended the pod."""
        if self.now is not None:
            self.now = msgspec.structs.replace(self.now, told=True)
            self._running.write(self.now)

    def forget_told(self) -> None:
        """It was the pod that was told to end, so no datum is to blame."""
        left = self.find_left()
        if left is not None and left.told:
            self.end()

    def end(self) -> None:
        """None runs."""
        self.now = None
        self._running.write(None)

    def count_start(self) -> Starts:
        """Counts a start of this worker; how many there were before."""
        before = self._starts.read() or Starts()
        self._starts.write(Starts(before.all + 1, before.vain + 1))
        return before

    def forget_vain(self) -> None:
        """A datum was answered."""
        found = self._starts.read()
        if found is not None and found.vain:
            self._starts.write(Starts(found.all, 0))
