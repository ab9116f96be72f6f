"""Keeps the processes of services and spouts as the record wants them: starts, watches, restarts, replaces and ends them."""

import contextlib
import os
import selectors
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self

import msgspec

from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.executors.backoff import Backoff, Course
from pachyderm_dagster.executors.cared import Cared, check_port
from pachyderm_dagster.executors.ending import Outcome, end_job
from pachyderm_dagster.executors.kept_processes import ProcessRecord, find_left, process_folder, remove_gone, remove_record
from pachyderm_dagster.executors.limit_groups import limits_problem
from pachyderm_dagster.executors.process_marks import end_session, mark_of
from pachyderm_dagster.executors.run_folder import RunFolder
from pachyderm_dagster.executors.starts import GRACE_SECONDS, Start, claim, start_of_service, start_of_spout
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, Job, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.wanted import Wanted, list_key, list_wanted, set_crashing
from pachyderm_dagster.storage.rows import DATUM_ROWS
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.worker.protocol import Answer, DatumResult, DatumState, WorkerReady, WorkerRefused
from pachyderm_dagster.workspace import Workspace


class Keeper:
    """The services and spouts that this process keeps, as a context manager that leaves none of their processes behind.

    Nothing of it is remembered but in the record and the home: who comes after a keeper that was killed goes on, and first ends what that left.

    Args:
        environ: of this machine, as user code is to see it.
        names: the pipelines to keep; None for all services and spouts.
        tell: takes lines for people.
    """

    def __init__(
        self,
        workspace: Workspace,
        environ: Mapping[str, str],
        *,
        names: Collection[RepoName] | None = None,
        rule: Backoff | None = None,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._workspace, self._environ, self._names, self._tell = workspace, dict(environ), names, tell
        self._rule = rule or Backoff()
        self._cared: dict[int, Cared] = {}
        self._selector = selectors.DefaultSelector()
        self._elsewhere: set[int] = set()
        self._started = 0
        self._mark = mark_of(os.getpid())

    def __enter__(self) -> Self:
        self._runs = RunFolder(os.path.realpath(self._workspace.settings.home / "scratch"))
        self._runs.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for cared in self._cared.values():
            cared.end()
        for cared in self._cared.values():
            cared.let_go()
        self._selector.close()
        self._runs.__exit__(kind, error, traceback)

    def step(self, seconds: float) -> None:
        """Brings the processes to what the record wants now, then looks after them for at most so many seconds, less when one ends."""
        home = self._workspace.settings.home
        for key, left in find_left(home):
            self._clear(key, left)
        with self._workspace.database.read() as txn:
            wanted = {one.pipeline.key: one for one in list_wanted(txn, self._names)}
            there = list_key(txn)
        for key in self._cared.keys() - wanted.keys():
            self._let_go(self._cared.pop(key))
        remove_gone(home, there)
        for one in wanted.values():
            self._look_after(one)
        self._watch(seconds)

    def _clear(self, key: int, left: ProcessRecord) -> None:
        """Ends what a keeper left that was killed, and takes its claim away."""
        if left.worker is not None and end_session(left.worker, seconds=GRACE_SECONDS):
            self._tell(f"ended process {left.worker.pid}, which was left of a service or spout when what kept it was killed")
        self._workspace.leases.release(process_lease(key), left.owner)
        remove_record(process_folder(self._workspace.settings.home, key))

    def _look_after(self, one: Wanted) -> None:
        cared = self._cared.get(one.pipeline.key) or self._take(one.pipeline)
        if cared is None:
            return
        if cared.lease.is_lost():
            # Whoever took it over starts a process of its own.
            self._let_go(self._cared.pop(one.pipeline.key))
            return
        if cared.pipeline.version != one.pipeline.version:
            # Another program has yet to crash.
            cared.course, cared.told = Course(), None
        cared.pipeline = one.pipeline
        for job in one.unrunnable:
            with contextlib.suppress(StateError):
                self._prepared(cared, claim(self._workspace, job))
        serves = (one.pipeline.version, None if one.job is None else one.job.key)
        if not one.has_process:
            self._stop(cared)
        elif cared.serves != serves or (cared.start is None and cared.is_due):
            self._replace(cared, one, serves)
        for job in one.earlier if cared.serves == serves else ():
            self._end(job, Outcome(JobState.SUCCESS, ""))
        if cared.start is not None and cared.is_due:
            self._start(cared, cared.start)
        if cared.worker is not None:
            cared.course = cared.course.runs(self._rule, ran=cared.ran)
        self._note_state(cared)

    def _take(self, pipeline: Pipeline) -> Cared | None:
        """Takes a pipeline into care; None while somebody else has it."""
        folder = process_folder(self._workspace.settings.home, pipeline.key)
        lease, leases = process_lease(pipeline.key), self._workspace.leases
        owner = self._workspace.database.clock.new_id()
        if not leases.acquire(lease, owner, LEASE_TIME):
            if pipeline.key not in self._elsewhere:
                self._tell(f"{pipeline.spec.kind} {pipeline.name}: another process keeps it; it is taken over when that ends")
            self._elsewhere.add(pipeline.key)
            return None
        self._elsewhere.discard(pipeline.key)
        open_ = contextlib.ExitStack()
        held = open_.enter_context(HeldLease(leases, lease, owner))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        cared = Cared(pipeline, folder, owner, held, open_, self._mark, self._rule, self._workspace.database.clock)
        cared.course = Course(reason=pipeline.reason, is_crashing=pipeline.state is PipelineState.CRASHING)
        cared.write()
        self._cared[pipeline.key] = cared
        return cared

    def _replace(self, cared: Cared, one: Wanted, serves: tuple[int, int | None]) -> None:
        """Lets the pipeline serve what is wanted now. When that cannot be, a service goes on with what it has, as long as that is wanted."""
        if one.job is None:
            self._replace_spout(cared, serves)
            return
        try:
            job = claim(self._workspace, one.job)
        except StateError:
            # It was ended, or an input was opened again: the next look says what is wanted.
            return
        start = self._prepared(cared, job)
        if start is not None:
            self._stop(cared)
            cared.serves = serves
            cared.take(start)

    def _replace_spout(self, cared: Cared, serves: tuple[int, int | None]) -> None:
        self._stop(cared)
        cared.serves = serves
        try:
            cared.take(start_of_spout(self._workspace, cared.pipeline, cared.folder, self._environ))
        except (InvalidError, NotFoundError) as error:
            self._tell(f"{cared.name}: {cared.ended(str(error), ran=0.0, failed=True, hopeless=True)}")

    def _prepared(self, cared: Cared, job: Job) -> Start | None:
        """What a service needs to serve a job that was claimed; None when that cannot be served, which ends it."""
        try:
            return start_of_service(self._workspace, job, cared.folder, self._environ)
        except StateError as error:
            self._end(job, Outcome(JobState.UNRUNNABLE, error.message))
        except (InvalidError, NotFoundError) as error:
            self._tell(f"{cared.name}: job {job} failed: {error}")
            self._end(job, Outcome(JobState.FAILURE, str(error)))
        return None

    def _start(self, cared: Cared, start: Start) -> None:
        try:
            if start.port is not None:
                check_port(start.port)
        except ExistsError as error:
            self._tell(f"{cared.name}: {cared.ended(str(error), ran=0.0, failed=True, hopeless=True)}")
            return
        unlimited = limits_problem(start.setup.limits)
        if unlimited is not None:
            cared.note(f"resource_limits are not kept: {unlimited}")
        self._started += 1
        scratch = self._runs.add(f"worker-{self._started}")
        worker = WorkerProcess(msgspec.structs.replace(start.setup, scratch=scratch), start.setup.environment)
        worker.give(start.task)
        self._selector.register(worker.stdout, selectors.EVENT_READ, cared)
        if worker.has_unsent:
            self._selector.register(worker.stdin, selectors.EVENT_WRITE, cared)
        cared.begun(worker, scratch)
        if start.job is not None:
            job = start.job
            self._workspace.database.write(lambda txn: jobs.report(txn, job, JobState.RUNNING, Counters()))
        at = "" if start.port is None else f", to be reached at port {start.port} of this machine"
        self._tell(f"{cared.name}: started{at}")

    def _watch(self, seconds: float) -> None:
        for key, events in self._selector.select(seconds):
            cared: Cared = key.data
            worker = cared.worker
            if worker is None:
                continue
            if events & selectors.EVENT_WRITE:
                worker.send_more()
                if not worker.has_unsent:
                    self._selector.unregister(worker.stdin)
                continue
            answers = worker.receive()
            if answers is None:
                self._ended(cared, "", ran=cared.ran, failed=True)
                continue
            for answer in answers:
                self._heed(cared, answer)

    def _heed(self, cared: Cared, answer: Answer) -> None:
        match answer:
            case WorkerReady(warning=str(warning)):
                cared.note(warning)
            case WorkerRefused() as refused:
                self._ended(cared, str(refused.error()), ran=0.0, failed=True)
            case DatumResult(state=state, reason=reason, exit_code=code, process_seconds=ran):
                failed = state is not DatumState.SUCCESS
                said = reason if failed else f"the command ended with exit code {code}"
                self._ended(cared, said, ran=ran, failed=failed, hopeless=failed and code is None)
            case _:
                # It is ready, and has its task.
                pass

    def _ended(self, cared: Cared, reason: str, *, ran: float, failed: bool, hopeless: bool = False) -> None:
        """Takes leave of a worker that has nothing more to say."""
        self._unregister(cared)
        how = cared.wait_end()
        line = cared.ended(reason or f"its worker {how}", ran=ran, failed=failed, hopeless=hopeless)
        self._tell(f"{cared.name}: {line}")
        self._note_state(cared)

    def _stop(self, cared: Cared) -> None:
        """Ends the process of a pipeline; nothing is to be started for it."""
        self._unregister(cared)
        cared.wait_end()
        cared.start, cared.serves = None, None

    def _let_go(self, cared: Cared) -> None:
        self._unregister(cared)
        cared.let_go()
        self._tell(f"{cared.name}: ended")

    def _unregister(self, cared: Cared) -> None:
        worker = cared.worker
        if worker is not None:
            for descriptor in (worker.stdout, worker.stdin):
                if descriptor in self._selector.get_map():
                    self._selector.unregister(descriptor)

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Ends a job, with an empty output when all went well; one that was ended by somebody else stays as it is."""
        trees = self._workspace.pfs.trees
        good = outcome.state is JobState.SUCCESS
        if good:
            outcome = Outcome(outcome.state, outcome.reason, trees.empty, Trees(self._workspace.store, DATUM_ROWS).empty)
        with contextlib.suppress(StateError, NotFoundError):
            claimed = job if job.started is not None else claim(self._workspace, job)
            end_job(self._workspace, claimed, outcome, Counters(), since=self._workspace.database.clock.now())

    def _note_state(self, cared: Cared) -> None:
        """Has the record say whether the process crashes."""
        told = cared.course.reason if cared.course.is_crashing else None
        is_told = cared.pipeline.state is PipelineState.CRASHING
        if told != cared.told or (told is None and is_told):
            self._workspace.database.write(lambda txn: set_crashing(txn, cared.pipeline, told))
            cared.told = told
