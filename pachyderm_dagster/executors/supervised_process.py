"""The process of one service or spout that this keeper supervises: its worker, how it has done, and what is written down of it."""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.coordination.leases import HeldLease
from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.executors.backoff import Backoff, RestartHistory
from pachyderm_dagster.executors.kept_processes import ProcessRecord, remove_record, write_record
from pachyderm_dagster.executors.process_marks import ProcessMark, mark_of
from pachyderm_dagster.executors.starts import GRACE_SECONDS, SERVICE_HOST, Start
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.worker.folders import remove_entry
from pachyderm_dagster.worker.kept_log import KeptLog, LogFiles

_END_SECONDS = GRACE_SECONDS + 5.0


@dataclass(slots=True)
class SupervisedProcess:
    """The process of a pipeline, which may run, wait for its next start, or have nothing to run.

    Args:
        folder: for its log and record.
        owner: of the lease.
        keeper: the mark of this process; None where processes have none.
        monotonic: seconds that only grow.

    Attributes:
        claimed: what gives the pipeline back when it is closed.
        serves: version and job that `start` is for.
        started_at: when the worker was started.
        next_start: when one may be started, if none runs.
        reported: whether the record says that its job runs.
        crash: the reason that the record has for calling it crashing, as far as this process knows.
    """

    pipeline: Pipeline
    folder: Path
    owner: str
    lease: HeldLease
    keeper: ProcessMark | None
    rule: Backoff
    clock: Clock
    monotonic: Callable[[], float]
    history: RestartHistory
    claimed: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    serves: tuple[int, int | None] | None = None
    start: Start | None = None
    worker: WorkerProcess | None = None
    started_at: float = 0.0
    next_start: float = 0.0
    scratch: str = ""
    reported: bool = False
    crash: str | None = None
    _is_written: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pipeline.spec.kind} {self.pipeline.name}"

    @property
    def ran(self) -> float:
        """Seconds since the worker was started."""
        return self.monotonic() - self.started_at

    @property
    def is_due(self) -> bool:
        """Whether, when no worker runs, it is time for another try."""
        return self.worker is None and self.monotonic() >= self.next_start

    def follow(self, pipeline: Pipeline) -> None:
        """Takes the pipeline as it is now. Another program has yet to crash."""
        if self.pipeline.version != pipeline.version:
            self.history, self.crash = RestartHistory(), None
        self.pipeline = pipeline

    def serve(self, serves: tuple[int, int | None], start: Start | None) -> None:
        """Serves something else from now on; the worker for what was before was ended. None: how it is to be started could not be found out."""
        self.serves, self.start, self.next_start = serves, start, self.monotonic()
        self.history = replace(self.history, failures=0, restarts=0)

    def begin(self, worker: WorkerProcess, scratch: str) -> None:
        """A worker was started; `scratch` is its folder."""
        self.worker, self.scratch, self.started_at, self.reported = worker, scratch, self.monotonic(), False
        self._try_write()

    def run_on(self) -> None:
        """Its worker, if there is one, still runs, which may say that it crashes no more."""
        if self.worker is not None:
            self.history = self.history.runs(self.rule, ran=self.ran)

    def end(self, reason: str, *, ran: float, failed: bool, not_started: bool = False) -> str:
        """Its worker ended after so many seconds, or could not be started; a line that says what comes."""
        self.history = self.history.ended(self.rule, ran=ran, reason=reason, failed=failed, not_started=not_started)
        wait = self.rule.wait(self.history.failures)
        self.next_start = self.monotonic() + wait
        self._try_write()
        line = f"{reason}; it starts again in {wait:g} s"
        self.note(line)
        return line

    def rest(self) -> None:
        """Its worker was ended, and there is nothing to start."""
        self.start, self.serves = None, None

    def crash_to_record(self) -> tuple[bool, str | None]:
        """Whether the record is to be told how it does, and why it crashes; None: it does not."""
        crash = self.history.reason if self.history.is_crashing else None
        return crash != self.crash or (crash is None and self.pipeline.state is PipelineState.CRASHING), crash

    def note(self, line: str) -> None:
        """A line of ours in its log."""
        job = self.start.job if self.start is not None else None
        KeptLog(LogFiles(str(self.folder)).add, "" if job is None else job.id, clock=self.clock).write(f"[{line}]\n".encode())

    def hang_up(self) -> None:
        """Asks the worker to end; `wait_end` waits for that."""
        if self.worker is not None:
            self.worker.hang_up()

    def wait_end(self) -> str:
        """Waits until the worker is gone, and all user code with it; how it ended. Then the pipeline has no worker."""
        worker, self.worker = self.worker, None
        if worker is None:
            return ""
        worker.hang_up()
        try:
            how = worker.wait_end(_END_SECONDS)
        finally:
            worker.close()
        # What resists goes with the run's folder, or stays where another user's files do.
        with contextlib.suppress(OSError):
            remove_entry(self.scratch)
        self._try_write()
        return how

    def let_go(self) -> None:
        """Gives the pipeline back: somebody else may keep it."""
        try:
            self.wait_end()
            remove_record(self.folder, self.owner)
        finally:
            self.claimed.close()

    def write(self) -> None:
        """Writes down how it is, for people and for who comes after a crash, if that changed."""
        if self.keeper is None or self._is_written:
            return
        worker = None if self.worker is None else mark_of(self.worker.pid)
        job = self.start.job if self.start is not None else None
        record = ProcessRecord(
            owner=self.owner,
            keeper=self.keeper,
            worker=worker,
            started=0.0 if worker is None else self.clock.now().timestamp(),
            restarts=self.history.restarts,
            job="" if job is None else job.id,
            port=None if self.start is None else self.start.port,
        )
        write_record(self.folder, record)
        self._is_written = True

    def _try_write(self) -> None:
        # A full disk is no reason to lose sight of a worker: `write` is called at each look, and says so.
        self._is_written = False
        with contextlib.suppress(OSError):
            self.write()


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
