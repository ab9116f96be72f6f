"""Keeps the processes of services and spouts as the record wants them: starts, watches, restarts, replaces and ends them."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.errors import ExecutionError, ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.executors.backoff import Backoff, RestartHistory
from pachyderm_dagster.executors.kept_processes import end_left, process_folder, remove_gone
from pachyderm_dagster.executors.limit_groups import limits_problem
from pachyderm_dagster.executors.process_marks import mark_of
from pachyderm_dagster.executors.run_folder import RunFolder
from pachyderm_dagster.executors.service_jobs import claim, end_service_job, end_unrunnable
from pachyderm_dagster.executors.starts import GRACE_SECONDS, Start, start_of_service, start_of_spout
from pachyderm_dagster.executors.supervised_process import SupervisedProcess, check_port
from pachyderm_dagster.executors.troubles import Troubles
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, Job, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.wanted import Wanted, list_key, list_wanted, set_crashing
from pachyderm_dagster.worker.folders import remove_entry
from pachyderm_dagster.worker.protocol import Answer, DatumResult, ResultState, WorkerReady, WorkerRefused
from pachyderm_dagster.workspace import Workspace

_LEFT, _RECORD = "what a keeper left", "the record"


class Keeper:
    """The services and spouts that this process keeps, as a context manager that leaves none of their processes behind.

    Nothing of it is remembered but in the record and the home: who comes after a keeper that was killed goes on, and first ends what that left.

    Args:
        environ: of this machine, as user code is to see it.
        names: the pipelines to keep; None for all services and spouts.
        tell: takes lines for people.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        workspace: Workspace,
        environ: Mapping[str, str],
        *,
        names: Collection[RepoName] | None = None,
        rule: Backoff | None = None,
        tell: Callable[[str], None] = lambda _line: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace, self._environ, self._names, self._tell = workspace, dict(environ), names, tell
        self._rule, self._monotonic = rule or Backoff(), monotonic
        self._supervised: dict[int, SupervisedProcess] = {}
        self._troubles = Troubles(self._rule, tell, monotonic)
        self._selector = selectors.DefaultSelector()
        self._elsewhere: set[int] = set()
        self._started = 0
        self._mark = mark_of(os.getpid())

    def __enter__(self) -> Self:
        self._runs = RunFolder(os.path.realpath(self._workspace.settings.home / "scratch"))
        self._runs.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with contextlib.ExitStack() as last:
            last.callback(self._runs.__exit__, kind, error, traceback)
            last.callback(self._selector.close)
            for process in self._supervised.values():
                last.callback(process.let_go)
            for process in self._supervised.values():
                process.hang_up()

    def step(self, seconds: float) -> None:
        """Brings the processes to what the record wants now, then looks after them for at most so many seconds, less when one ends.

        What fails is told and tried again by a later step; what else there is goes on.
        """
        self._troubles.attempt(_LEFT, self._end_left)
        for key in [key for key, process in self._supervised.items() if process.lease.is_lost()]:
            # Whoever took it over starts a process of its own.
            self._let_go(key)
        wanted: list[Wanted] = []
        self._troubles.attempt(_RECORD, lambda: wanted.extend(self._follow_record()))
        for one in wanted:
            name = f"{one.pipeline.spec.kind} {one.pipeline.name}"
            if self._troubles.is_due(name):
                self._troubles.attempt(name, partial(self._look_after, one))
        self._watch(seconds)

    def _end_left(self) -> None:
        for pid in end_left(self._workspace.settings.home, self._workspace.leases, seconds=GRACE_SECONDS):
            self._tell(f"ended process {pid}, which was left of a service or spout when what kept it was killed")

    def _follow_record(self) -> list[Wanted]:
        """What the record wants; what it wants no more is let go."""
        with self._workspace.database.read() as txn:
            wanted = {one.pipeline.key: one for one in list_wanted(txn, self._names)}
            there = list_key(txn)
        for key in self._supervised.keys() - wanted.keys():
            self._let_go(key)
        remove_gone(self._workspace.settings.home, there)
        return list(wanted.values())

    def _look_after(self, one: Wanted) -> None:
        process = self._supervised.get(one.pipeline.key) or self._take(one.pipeline)
        if process is None:
            return
        process.follow(one.pipeline)
        for job in one.unrunnable:
            end_unrunnable(self._workspace, job)
        serves = (one.pipeline.version, None if one.job is None else one.job.key)
        if not one.has_process:
            self._stop(process)
        elif process.serves != serves or (process.start is None and process.is_due):
            self._replace(process, one, serves)
        for job in one.earlier if process.serves == serves else ():
            end_service_job(self._workspace, job, JobState.SUCCESS)
        if process.start is not None and process.is_due:
            self._start(process, process.start)
        process.run_on()
        self._report(process)
        process.write()

    def _take(self, pipeline: Pipeline) -> SupervisedProcess | None:
        """Takes a pipeline into care; None while somebody else has it."""
        lease, leases = process_lease(pipeline.key), self._workspace.leases
        owner = self._workspace.database.clock.new_id()
        if not leases.acquire(lease, owner, LEASE_TIME):
            if pipeline.key not in self._elsewhere:
                self._tell(f"{pipeline.spec.kind} {pipeline.name}: another process keeps it; it is taken over when that ends")
            self._elsewhere.add(pipeline.key)
            return None
        self._elsewhere.discard(pipeline.key)
        with contextlib.ExitStack() as claimed:
            held = claimed.enter_context(HeldLease(leases, lease, owner))
            folder = process_folder(self._workspace.settings.home, pipeline.key)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            process = SupervisedProcess(
                pipeline,
                folder,
                owner,
                held,
                self._mark,
                self._rule,
                self._workspace.database.clock,
                self._monotonic,
                RestartHistory(reason=pipeline.reason, is_crashing=pipeline.state is PipelineState.CRASHING),
            )
            process.write()
            process.claimed = claimed.pop_all()
        self._supervised[pipeline.key] = process
        return process

    def _replace(self, process: SupervisedProcess, one: Wanted, serves: tuple[int, int | None]) -> None:
        """Lets the pipeline serve what is wanted now. When that cannot be, a service goes on with what it has, as long as that is wanted."""
        if one.job is None:
            self._replace_spout(process, serves)
            return
        try:
            job = claim(self._workspace, one.job)
        except (StateError, NotFoundError):
            # It was ended or deleted, or an input was opened again: the next look says what is wanted.
            return
        start = self._prepared(process, job)
        if start is not None:
            self._stop(process)
            process.serve(serves, start)

    def _replace_spout(self, process: SupervisedProcess, serves: tuple[int, int | None]) -> None:
        self._stop(process)
        try:
            process.serve(serves, start_of_spout(self._workspace, process.pipeline, process.folder, self._environ))
        except (InvalidError, NotFoundError) as error:
            process.serve(serves, None)
            self._not_started(process, error)

    def _prepared(self, process: SupervisedProcess, job: Job) -> Start | None:
        """What a service needs to serve a job that was claimed; None when that cannot be served, which ends it."""
        try:
            return start_of_service(self._workspace, job, process.folder, self._environ)
        except StateError as error:
            end_service_job(self._workspace, job, JobState.UNRUNNABLE, error.message)
        except (InvalidError, NotFoundError) as error:
            self._tell(f"{process.name}: job {job} failed: {error}")
            end_service_job(self._workspace, job, JobState.FAILURE, str(error))
        return None

    def _start(self, process: SupervisedProcess, start: Start) -> None:
        try:
            if start.port is not None:
                check_port(start.port)
            worker, scratch = self._start_worker(start)
        except (ExistsError, ExecutionError, OSError) as error:
            self._not_started(process, error)
            return
        unlimited = limits_problem(start.setup.limits)
        if unlimited is not None:
            process.note(f"resource_limits are not kept: {unlimited}")
        self._selector.register(worker.stdout, selectors.EVENT_READ, process)
        if worker.has_unsent:
            self._selector.register(worker.stdin, selectors.EVENT_WRITE, process)
        process.begin(worker, scratch)
        at = "" if start.port is None else f", to be reached at port {start.port} of this machine"
        self._tell(f"{process.name}: started{at}")

    def _start_worker(self, start: Start) -> tuple[WorkerProcess, str]:
        self._started += 1
        scratch = self._runs.add(f"worker-{self._started}")
        try:
            worker = WorkerProcess(msgspec.structs.replace(start.setup, scratch=scratch), start.setup.environment)
        except BaseException:
            remove_entry(scratch)
            raise
        worker.give(start.task)
        return worker, scratch

    def _not_started(self, process: SupervisedProcess, error: Exception) -> None:
        self._tell(f"{process.name}: {process.end(str(error), ran=0.0, failed=True, not_started=True)}")

    def _watch(self, seconds: float) -> None:
        for key, events in self._selector.select(seconds):
            process: SupervisedProcess = key.data
            worker = process.worker
            if worker is None:
                continue
            if events & selectors.EVENT_WRITE:
                worker.send_more()
                if not worker.has_unsent:
                    self._selector.unregister(worker.stdin)
                continue
            self._troubles.attempt(f"the process of {process.name}", partial(self._hear, process, worker))

    def _hear(self, process: SupervisedProcess, worker: WorkerProcess) -> None:
        answers = worker.receive()
        if answers is None:
            self._ended(process, "", ran=process.ran, failed=True)
            return
        for answer in answers:
            self._heed(process, answer)

    def _heed(self, process: SupervisedProcess, answer: Answer) -> None:
        match answer:
            case WorkerReady(warning=str(warning)):
                process.note(warning)
            case WorkerRefused() as refused:
                self._ended(process, str(refused.error()), ran=0.0, failed=True)
            case DatumResult(state=state, reason=reason, exit_code=code, process_seconds=ran):
                failed = state is not ResultState.SUCCESS
                said = reason if failed else f"the command ended with exit code {code}, and is to stay"
                self._ended(process, said, ran=ran, failed=failed, not_started=failed and code is None)
            case _:
                # It is ready, and has its task.
                pass

    def _ended(self, process: SupervisedProcess, reason: str, *, ran: float, failed: bool, not_started: bool = False) -> None:
        """Takes leave of a worker that has nothing more to say."""
        self._unregister(process)
        how = process.wait_end()
        line = process.end(reason or f"its worker {how}", ran=ran, failed=failed, not_started=not_started)
        self._tell(f"{process.name}: {line}")
        self._report(process)

    def _stop(self, process: SupervisedProcess) -> None:
        """Ends the process of a pipeline; nothing is to be started for it."""
        self._unregister(process)
        process.wait_end()
        process.rest()

    def _let_go(self, key: int) -> None:
        process = self._supervised.pop(key)
        self._unregister(process)
        self._troubles.attempt(f"the end of {process.name}", process.let_go)
        self._tell(f"{process.name}: ended")

    def _unregister(self, process: SupervisedProcess) -> None:
        worker = process.worker
        if worker is not None:
            for descriptor in (worker.stdout, worker.stdin):
                if descriptor in self._selector.get_map():
                    self._selector.unregister(descriptor)

    def _report(self, process: SupervisedProcess) -> None:
        """Has the record say that the job of a process runs, and whether the process crashes."""
        job = process.start.job if process.start is not None else None
        if process.worker is not None and job is not None and not process.reported:
            self._workspace.database.write(lambda txn: jobs.report(txn, job, JobState.RUNNING, Counters()))
            process.reported = True
        is_news, crash = process.crash_to_record()
        if is_news:
            self._workspace.database.write(lambda txn: set_crashing(txn, process.pipeline, crash))
            process.crash = crash
