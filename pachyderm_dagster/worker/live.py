"""What a datum that runs longer than a moment has printed so far, in a file beside its worker, for people who look while it runs."""

import contextlib
import os
from collections import defaultdict

import msgspec

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.worker.kept_log import KeptLog, LogFiles
from pachyderm_dagster.worker.output_log import Listener
from pachyderm_dagster.worker.protocol import DatumTask, WorkerSetup

LIVE_PREFIX = "live-"
# A datum that ends sooner never has a file: to make one takes as long as many a datum.
LIVE_AFTER_SECONDS = 0.5
# More than this of one datum is not shown while it runs.
LIVE_BYTES = 8 << 20


class LiveDatum(msgspec.Struct, frozen=True):
    """The first line of such a file, as JSON: which datum it is, in which job (`project/pipeline@id`), and when it was started, in seconds since 1970."""

    job: str
    datum: str
    started: float


def listener_of(setup: WorkerSetup, task: DatumTask, started: float) -> Listener:
    """What gets the output of a datum of a worker while it runs."""
    if setup.kept_log:
        return KeptLog(LogFiles(setup.kept_log).add, setup.environment.get("PACH_JOB_ID", ""), clock=SystemClock())
    job = "{PPS_PROJECT_NAME}/{PPS_PIPELINE_NAME}@{PACH_JOB_ID}".format_map(defaultdict(str, setup.environment))
    return LiveFile(setup.scratch, LiveDatum(job, task.id, started))


class LiveFile:
    """The file of one datum, which is there from `open` to `close`.

    Args:
        folder: of the worker.
    """

    def __init__(self, folder: str, datum: LiveDatum) -> None:
        self._path = f"{folder}/{LIVE_PREFIX}{datum.datum}"
        self._datum = datum
        self._file: int | None = None
        self._room = LIVE_BYTES

    @property
    def after_seconds(self) -> float:
        return LIVE_AFTER_SECONDS

    def open(self, so_far: bytes) -> None:
        """Makes the file, with what was printed before. Looking is not worth a failure: one that cannot be written is not there."""
        with contextlib.suppress(OSError):
            self._file = os.open(self._path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.write(self._file, msgspec.json.encode(self._datum) + b"\n")
            os.rename(self._path + ".new", self._path)
            self.write(so_far)

    def write(self, data: bytes) -> None:
        """Adds what was printed next; nothing before `open`."""
        if self._file is None or not self._room:
            return
        with contextlib.suppress(OSError):
            self._room -= os.write(self._file, data[: self._room])

    def close(self) -> None:
        """Removes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            with contextlib.suppress(OSError):
                os.unlink(self._path)
