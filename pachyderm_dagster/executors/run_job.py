"""Runs one job from claim to finished output commit; one function below Dagster, called by a step."""

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from pachyderm_dagster.coordination.leases import HeldLease, hold
from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.errors import ConflictError, ExecutionError, InvalidError, NotFoundError, PachydermError, StateError
from pachyderm_dagster.executors.broken_off import Underway
from pachyderm_dagster.executors.datum_sets import choose_sets, in_sets
from pachyderm_dagster.executors.egress import egress_run, run_egress_watched
from pachyderm_dagster.executors.ending import Outcome, end_job
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.recording import ResultRecorder, add_result
from pachyderm_dagster.executors.setups import worker_setup
from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.executors.watch import Watch
from pachyderm_dagster.log_lines import about_job
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.assembly import assemble_meta, assemble_output
from pachyderm_dagster.pps.changed_datums import ConsideredDatums
from pachyderm_dagster.pps.counting import begin, keep_up
from pachyderm_dagster.pps.datums import Datums
from pachyderm_dagster.pps.egress import Egress
from pachyderm_dagster.pps.ended_datums import EndedDatums
from pachyderm_dagster.pps.job_inputs import JobInputs, load_job_inputs
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.planning import Sources, consider_datums, decode_base, described, find_plan, make_sources
from pachyderm_dagster.pps.results import RESULT_ROWS, DatumDetails, Done, load_results
from pachyderm_dagster.pps.spec import Reprocess
from pachyderm_dagster.storage.memory import allocate_plainly, give_back
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.sorted_rows import SortedRows
from pachyderm_dagster.storage.tree_reading import decode_root
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.workspace import Workspace

REPORT_SECONDS = 1.0
_CACHE_BYTES = 16 << 20
"""Of nodes of each tree: a save of some among many datums goes through the whole tree, of which a cache holds what it needs last."""
MAX_TRIES = 3
"""So often a job is begun that ends with an error that nobody expects."""

_log = logging.getLogger(__name__)

OnProgress = Callable[[JobState, Counters], None]


class Executor(Protocol):
    """Where datums run."""

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        """Runs the tasks, which are `job.count`, and yields a result for each, in any order.

        Raises:
            InvalidError: by the call itself, when they can never run as the pipeline says; the job fails then.
        """
        ...

    def stop(self) -> None:
        """Kills what runs, from another thread too; `run` ends."""
        ...

    def restart_asked(self) -> int:
        """Has datums that run begin anew where people asked for that; how many. Called about once a second, from another thread."""
        ...


def run_job(
    workspace: Workspace,
    job: Job,
    *,
    executor: Executor,
    run_id: str | None = None,
    on_progress: OnProgress = lambda _state, _counters: None,
    check: Callable[[], None] = lambda: None,
) -> Job:
    """Runs `job` and returns it as it ended: SUCCESS, EGRESS_FAILURE, FAILURE, KILLED or UNRUNNABLE.

    Killed between any two lines, the next call starts over and restores what was done. `on_progress` is called when datums end, at most about once a second;
    `check` beside datums and egress as often, from another thread: a PachydermError that it raises ends this try, and the next one restores what was done.

    Raises:
        PachydermError, OSError: the store, the record or the machine fails, or `check` raised it; why is the job's reason then, and it can be run again.
        Exception: others that nobody expects, in the first tries; in the last one they fail the job.
        ConflictError: `job-running`, when somebody else runs it.
        StateError: `job-finished`; `job-waiting`, when an input commit is open.
        NotFoundError: `job-not-found`, when it was deleted.
    """
    with about_job(job.pipeline.project, job.pipeline.name, job.id):
        ended = _run_job(workspace, job, executor, run_id, on_progress, check)
        _log.info("the job ended: %s%s", ended.state, f", {ended.reason}" if ended.reason else "")
        return ended


def _run_job(workspace: Workspace, job: Job, executor: Executor, run_id: str | None, on_progress: OnProgress, check: Callable[[], None]) -> Job:
    owner = workspace.database.clock.new_id()
    lease = job_lease(job.key)
    with hold(workspace.leases, lease, owner) as held:
        if held is None:
            raise ConflictError("job-running", f"job '{job}' is being run by another process; `pachctl wait job {job}` waits for it")
        claimed = workspace.database.write(lambda txn: jobs.claim(txn, job, run_id))
        _log.info("the job begins: try %s", claimed.restarts + 1)
        with workspace.database.read() as txn:
            inputs = load_job_inputs(txn, claimed)
        if inputs.failed_inputs:
            reason = inputs.why_unrunnable
            workspace.database.write(lambda txn: jobs.finish(txn, claimed, JobState.UNRUNNABLE, reason=reason))
        else:
            run = _JobRun(workspace, inputs, executor, on_progress, check, held)
            with _telling_why(workspace, claimed, held):
                run.execute()
        with workspace.database.read() as txn:
            return jobs.refresh(txn, job)


@contextlib.contextmanager
def _telling_why(workspace: Workspace, job: Job, lease: HeldLease) -> Iterator[None]:
    """What ends an attempt and not the job, as a full disk does, is the job's reason until it ends, so that it can be seen why it begins anew."""
    try:
        yield
    except (PachydermError, OSError) as error:
        reason = f"try {job.restarts + 1} was interrupted: {error}"
        # The record may be on the same disk.
        with contextlib.suppress(PachydermError):
            if not lease.is_lost():
                workspace.database.write(lambda txn: jobs.note_interruption(txn, job, reason))
        raise


class _Stopped(Exception):
    """Somebody else ended the job; all that is left to do is to tell how far it was."""


class _Unprepared(Exception):
    """What the user code is to get is missing; the cause says what."""


class _OutOfTime(Exception):
    """The job took longer than its pipeline allows."""


@dataclass(slots=True)
class _JobRun:
    """One attempt at a job."""

    workspace: Workspace
    inputs: JobInputs
    executor: Executor
    on_progress: OnProgress
    check: Callable[[], None]
    lease: HeldLease
    counters: Counters = field(default_factory=Counters)
    begun: float = field(default_factory=time.monotonic)
    seconds_before: float = field(init=False)
    """Since the first attempt began, when this one did."""
    reached: TreeRoot | None = None
    """The meta tree of what the job did, once its datums ended or were ended."""
    file_trees: Trees = field(init=False)
    meta_trees: Trees = field(init=False)
    result_trees: Trees = field(init=False)

    def __post_init__(self) -> None:
        self.seconds_before = max(0.0, (self.workspace.database.clock.now() - self._since).total_seconds())
        self.file_trees = Trees(self.workspace.store, FILE_ROWS, _CACHE_BYTES)
        self.meta_trees = Trees(self.workspace.store, DATUM_ROWS, _CACHE_BYTES)
        self.result_trees = Trees(self.workspace.store, RESULT_ROWS, _CACHE_BYTES)

    @property
    def _since(self) -> dt.datetime:
        """From when on this job, or an attempt before, stored what it refers to."""
        assert self.inputs.job.started is not None
        return self.inputs.job.started

    def execute(self) -> None:
        """Runs the job to its end, or until somebody else ends it."""
        allocate_plainly()
        try:
            self._finish(self._outcome())
        except _Stopped:
            self._tell_reached()
        except (PachydermError, OSError, MemoryError):
            raise
        except Exception as error:
            # A fault of this program. It may pass; one that does not must not keep other jobs waiting for ever.
            tries = self.inputs.job.restarts + 1
            if tries < MAX_TRIES:
                raise
            _log.exception("job %s ends for an unexpected error", self.inputs.job)
            reason = f"unexpected {type(error).__name__} in try {tries}: {error}; `pachctl rerun pipeline {self.inputs.pipeline.name}` runs it again"
            self._finish(Outcome(JobState.FAILURE, reason, meta=self.reached))

    def _outcome(self) -> Outcome:
        spec = self.inputs.pipeline.spec
        base = decode_base(self.inputs.base)
        try:
            sources = make_sources(self.inputs.commits)
            salt, scratch = self.inputs.pipeline.salt, self.workspace.scratch
            found = consider_datums(self.file_trees, self.meta_trees, spec, sources, salt, self.inputs.base, scratch)
        except InvalidError as error:
            return Outcome(JobState.FAILURE, str(error))
        ended = EndedDatums(self.workspace.scratch)
        chosen, own = self._plan(found, ended)
        self.counters = begin(self.inputs.job.counters, total=found.total, skipped=found.total - len(chosen.run) - own, processed=own)
        self._report(JobState.RUNNING)
        if len(chosen.run) and not spec.transform.cmd:
            missing = InvalidError("command-missing", "the pipeline has no transform.cmd, so there is nothing to run; `pachctl update pipeline` with a command")
            return Outcome(JobState.FAILURE, str(missing))
        try:
            ran = self._run(found.datums, chosen, sources, ended, lambda rows: assemble_meta(self.meta_trees, base.meta, chosen, rows))
        except _Unprepared as error:
            return Outcome(JobState.FAILURE, str(error.__cause__))
        except _OutOfTime:
            return Outcome(JobState.KILLED, self._out_of_time, meta=self.reached)
        self.reached = meta = ran.meta()
        if ran.first_failed is not None:
            return Outcome(JobState.FAILURE, self._failure(ran.first_failed, ran.failed), meta=meta)
        self._report(JobState.FINISHING if spec.egress is None else JobState.EGRESSING)
        try:
            output = assemble_output(self.file_trees, self.meta_trees, base, chosen, ended.output)
        except InvalidError as error:
            return Outcome(JobState.FAILURE, str(error), meta=meta)
        if spec.egress is None:
            return Outcome(JobState.SUCCESS, "", output, meta)
        try:
            outcome = self._send(spec.egress, output, meta)
        except _OutOfTime:
            return Outcome(JobState.KILLED, self._out_of_time, meta=meta)
        self._report(JobState.FINISHING)
        return outcome

    def _send(self, egress: Egress, output: TreeRoot, meta: TreeRoot) -> Outcome:
        """Brings the output to where the egress says; it stays as good as it is when that fails."""
        self.on_progress(JobState.EGRESSING, self.counters)
        ended = run_egress_watched(egress_run(self.workspace, egress, output.encode()), lambda: self._check(JobState.EGRESSING))
        if isinstance(ended, PachydermError):
            return Outcome(JobState.EGRESS_FAILURE, f"egress: {ended}", output, meta)
        return Outcome(JobState.SUCCESS, "", output, meta, ended)

    @property
    def _out_of_time(self) -> str:
        return f"the job took longer than its job_timeout of {self.inputs.pipeline.spec.job_timeout:g} s"

    def _plan(self, found: ConsideredDatums, ended: EndedDatums) -> tuple[Plan, int]:
        """The plan, and how many datums an attempt before ran; what datums left that it restores is `ended` then."""
        every_job = self.inputs.pipeline.spec.reprocess_spec is Reprocess.EVERY_JOB
        results = decode_root(RESULT_ROWS, self.inputs.results)
        chosen = find_plan(self.result_trees, found.datums, found.base_rows, results, every_job=every_job)
        restored = load_results(self.result_trees, results, chosen.hashes(chosen.restored))
        own = ended.add_all(restored, self.inputs.job.id)
        give_back()
        return chosen, own

    def _run(self, datums: Datums, chosen: Plan, sources: Sources, ended: EndedDatums, assemble: Callable[[SortedRows], TreeRoot]) -> ResultRecorder:
        """Runs the planned datums; their results are kept however the job ends. `ended` and `assemble` as of `ResultRecorder`."""
        trees = (self.meta_trees, self.result_trees)
        recorder = ResultRecorder(self.workspace, self.inputs, *trees, ended, lambda rows: described(datums, rows, sources), assemble)
        if not len(chosen.run):
            return recorder
        underway = Underway(datums, chosen.run)
        tasks = self._in_sets(datum_tasks(self.file_trees, datums, chosen.run, sources), len(chosen.run))
        try:
            self._forget_attempt(recorder)
            # Last: who takes its results has it end.
            running = self._start(tasks, len(chosen.run))
            with contextlib.closing(running) as results, Watch(lambda: self._check_running(recorder, underway), self.executor.stop, REPORT_SECONDS):
                self._record(results, recorder, underway)
            if recorder.count < len(chosen.run):
                # Whatever stopped it: an output without these would look whole.
                ran, wanted = recorder.count, len(chosen.run)
                raise ExecutionError("executor-stopped", f"what runs datums was stopped when {ran:,} of {wanted:,} were done; the next try goes on from there")
        except BaseException as error:
            if not self.lease.is_lost():
                self._break_off(recorder, underway, error)
            raise
        finally:
            recorder.close()
        return recorder

    def _start(self, tasks: Iterable[DatumTask], count: int) -> Generator[DatumResult]:
        try:
            return self.executor.run(self._setup(), tasks, self._parallelism(count), JobDatums(self.inputs, count, self.lease.is_lost))
        except (NotFoundError, InvalidError) as error:
            raise _Unprepared from error

    def _forget_attempt(self, recorder: ResultRecorder) -> None:
        """What an attempt before wrote down may tell of datums that run again now."""
        with self.workspace.database.read() as txn:
            known = jobs.find_checkpoint(txn, self.inputs.job)
        if known is not None:
            recorder.save_all()

    def _record(self, results: Iterable[DatumResult], recorder: ResultRecorder, underway: Underway) -> None:
        reported = time.monotonic()
        with self._noting_what_runs(underway):
            for result in results:
                self.counters = add_result(self.counters, result)
                underway.record(result, recorder)
                if time.monotonic() - reported >= REPORT_SECONDS:
                    self.on_progress(JobState.RUNNING, self._shown)
                    reported = time.monotonic()

    @contextlib.contextmanager
    def _noting_what_runs(self, underway: Underway) -> Iterator[None]:
        """For what may end the job, and with it the workers, by an exception."""
        try:
            yield
        except BaseException:
            underway.note_running(self.workspace.settings.home, self.inputs.job)
            raise

    def _break_off(self, recorder: ResultRecorder, underway: Underway, error: BaseException) -> None:
        """Records the datums that ran as failed ones, and what the job did before it was ended, by itself or another, or before its process is."""
        for result in underway.break_off(recorder, now=self.workspace.database.clock.now(), reason=self._why_ended(error)):
            self.counters = add_result(self.counters, result)
        self.reached = recorder.save_all()

    def _why_ended(self, error: BaseException) -> str:
        match error:
            case _OutOfTime():
                return self._out_of_time
            case _Stopped():
                with self.workspace.database.read() as txn:
                    return jobs.find_reason(txn, self.inputs.job)
            case _:
                return "what ran the job was interrupted"

    def _tell_reached(self) -> None:
        """Adds to a job that somebody else ended what was not written down by then."""
        reached = self.reached
        if reached is not None and not self.lease.is_lost():
            self.workspace.database.write(
                lambda txn: is_collected(txn, self._since) or jobs.complete_killed(txn, self.inputs.job, reached.encode(), self._shown)
            )

    def _setup(self) -> WorkerSetup:
        pipeline, version = self.inputs.pipeline, self.inputs.spec_commit
        source = self.workspace.pps.list_source(pipeline.name, version) if pipeline.spec.transform.build is not None else ()
        return worker_setup(self.workspace, pipeline.name, pipeline.spec, set_id=self.inputs.job.id, spec_commit=version, source=source)

    def _in_sets(self, tasks: Iterator[DatumTask], count: int) -> Iterator[DatumTask]:
        """The tasks in datum sets, where the pipeline says how large or makes use of them; others are given to whoever has room."""
        spec = self.inputs.pipeline.spec
        if spec.datum_set_spec is None and not spec.transform.datum_batching:
            return tasks
        return in_sets(tasks, choose_sets(spec.datum_set_spec, count, self._parallelism(count)))

    def _parallelism(self, datums: int) -> int:
        return min(datums, self.inputs.pipeline.spec.parallelism_spec.constant or 1)

    def _failure(self, first: Done, count: int) -> str:
        """The reason of a job with failed datums: names the first, and how many there are."""
        reader = self.workspace.pfs.reader
        details = msgspec.json.decode(reader.read(first.details), type=DatumDetails)
        others = f" (and {count - 1} more datums)" if count > 1 else ""
        return f"datum {first.id[:12]}… of {', '.join(details.inputs)} failed: {details.reason}{others}"

    @property
    def _shown(self) -> Counters:
        return keep_up(self.inputs.job.counters, self.counters)

    def _report(self, state: JobState) -> None:
        """Writes down how far the job is.

        Raises:
            _Stopped: somebody else ended it.
        """
        if not self.workspace.database.write(lambda txn: jobs.report(txn, self.inputs.job, state, self._shown)):
            raise _Stopped

    def _check_running(self, recorder: ResultRecorder, underway: Underway) -> None:
        restarted = self.executor.restart_asked()
        if restarted:
            self.workspace.database.write(lambda txn: jobs.add_restarts(txn, self.inputs.job, restarted))
        recorder.save_if_due()
        with self._noting_what_runs(underway):
            self._check(JobState.RUNNING)

    def _check(self, state: JobState) -> None:
        """Called beside long work: reports, and raises what must end it."""
        limit = self.inputs.pipeline.spec.job_timeout
        if self.lease.is_lost():
            raise _lease_lost(self.inputs.job)
        if limit is not None and self.seconds_before + time.monotonic() - self.begun > limit:
            raise _OutOfTime
        self.check()
        self._report(state)

    def _finish(self, outcome: Outcome) -> None:
        if self.lease.is_lost():
            raise _lease_lost(self.inputs.job)
        try:
            end_job(self.workspace, self.inputs.job, outcome, self.counters, since=self._since)
        except StateError as error:
            raise _Stopped from error


def _lease_lost(job: Job) -> ConflictError:
    return ConflictError("job-running", f"this process lost its claim on job '{job}' and stopped; another one may run it: `pachctl wait job {job}`")
