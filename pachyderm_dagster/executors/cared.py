"""One service or spout that this process keeps: its worker, how it has done, and what is written down of it."""

import contextlib
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.coordination.leases import HeldLease
from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.executors.backoff import Backoff, Course
from pachyderm_dagster.executors.kept_processes import ProcessRecord, read_record, remove_record, write_record
from pachyderm_dagster.executors.process_marks import ProcessMark, mark_of
from pachyderm_dagster.executors.starts import GRACE_SECONDS, SERVICE_HOST, Start
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.worker.folders import remove_entry
from pachyderm_dagster.worker.kept_log import KeptLog

_END_SECONDS = GRACE_SECONDS + 5.0


@dataclass(slots=True)
class Cared:
    """A pipeline in the care of this process.

    Args:
        folder: for its log and record.
        owner: of the lease.
        keeper: the mark of this process; None where processes have none.

    Attributes:
        serves: version and job that `start` is for.
        at: when the worker was started, or is to be started next.
    """

    pipeline: Pipeline
    folder: Path
    owner: str
    lease: HeldLease
    open: contextlib.ExitStack
    keeper: ProcessMark | None
    rule: Backoff
    clock: Clock
    course: Course = field(default_factory=Course)
    serves: tuple[int, int | None] | None = None
    start: Start | None = None
    worker: WorkerProcess | None = None
    at: float = 0.0
    scratch: str = ""
    told: str | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pipeline.spec.kind} {self.pipeline.name}"

    @property
    def ran(self) -> float:
        """Seconds since the worker was started."""
        return time.monotonic() - self.at

    @property
    def is_due(self) -> bool:
        """Whether, when no worker runs, it is time for another try."""
        return self.worker is None and time.monotonic() >= self.at

    def take(self, start: Start) -> None:
        """Serves something else from now on; the worker for what was before was ended."""
        self.start, self.at, self.course = start, time.monotonic(), replace(self.course, failures=0, restarts=0)

    def begun(self, worker: WorkerProcess, scratch: str) -> None:
        """A worker was started; `scratch` is its folder."""
        self.worker, self.scratch, self.at = worker, scratch, time.monotonic()
        self.write()

    def ended(self, reason: str, *, ran: float, failed: bool, hopeless: bool = False) -> str:
        """Its worker ended after so many seconds, or could not be started; a line that says what comes."""
        self.course = self.course.ended(self.rule, ran=ran, reason=reason, failed=failed, hopeless=hopeless)
        wait = self.rule.wait(self.course.failures)
        self.at = time.monotonic() + wait
        self.write()
        line = f"{reason}; it starts again in {wait:g} s"
        self.note(line)
        return line

    def note(self, line: str) -> None:
        """A line of ours in its log."""
        job = self.start.job if self.start is not None else None
        KeptLog(str(self.folder), "" if job is None else job.id, clock=self.clock).write(f"[{line}]\n".encode())

    def end(self) -> None:
        """Asks the worker to end; `wait_end` waits for that."""
        if self.worker is not None:
            self.worker.hang_up()

    def wait_end(self) -> str:
        """Waits until the worker is gone, and all user code with it; how it ended. Then the pipeline has no worker."""
        worker, self.worker = self.worker, None
        if worker is None:
            return ""
        worker.hang_up()
        how = worker.wait_end(_END_SECONDS)
        worker.close()
        # What resists goes with the run's folder, or stays where another user's files do.
        with contextlib.suppress(OSError):
            remove_entry(self.scratch)
        self.write()
        return how

    def let_go(self) -> None:
        """Gives the pipeline back: somebody else may keep it."""
        self.wait_end()
        found = read_record(self.folder)
        if found is not None and found.owner == self.owner:
            remove_record(self.folder)
        self.open.close()

    def write(self) -> None:
        """Writes down how it is, for people and for who comes after a crash."""
        if self.keeper is None:
            return
        worker = None if self.worker is None else mark_of(self.worker.pid)
        job = self.start.job if self.start is not None else None
        record = ProcessRecord(
            owner=self.owner,
            keeper=self.keeper,
            worker=worker,
            started=0.0 if worker is None else self.clock.now().timestamp(),
            restarts=self.course.restarts,
            job="" if job is None else job.id,
            port=None if self.start is None else self.start.port,
        )
        write_record(self.folder, record)


def check_port(port: int) -> None:
    """Does nothing when code can listen on a port of the loopback.

    Raises:
        ExistsError: `port-taken`.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((SERVICE_HOST, port))
        except OSError as error:
            problem = f"port {port} of {SERVICE_HOST} cannot be had: {error.strerror}"
            raise ExistsError("port-taken", f"{problem}; end what listens there, or update the pipeline with another 'internal_port'") from error
