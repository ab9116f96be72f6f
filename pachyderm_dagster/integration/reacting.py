"""Runs commit sets the moment they are due: launches their Dagster runs, or does the jobs itself and tells Dagster (docs/design/0019)."""

import contextlib
import datetime as dt
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.drivers import find_other_executors
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease, hold
from pachyderm_dagster.coordination.names import asked_lease, reactor_lease, request_lease, set_lease
from pachyderm_dagster.errors import ConflictError, ExecutionError, NotFoundError, PachydermError, StateError, UnreachableError
from pachyderm_dagster.executors.choosing import open_executor, service_keeper, tend_workers
from pachyderm_dagster.executors.run_job import Executor, run_job
from pachyderm_dagster.executors.unrunnable import end_unrunnable_jobs
from pachyderm_dagster.executors.watch import Watch, going_on
from pachyderm_dagster.integration.automation import job_name, sensor_name
from pachyderm_dagster.integration.dagster_inner import stopped_names
from pachyderm_dagster.integration.due_runs import DueSets, SetRequest
from pachyderm_dagster.integration.job_reports import ended_check, find_untold_output, report_check, report_inputs
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.integration.sensor_limits import room_for_runs
from pachyderm_dagster.integration.served_projects import Code, ServedProject
from pachyderm_dagster.integration.set_partitions import partition_of_run
from pachyderm_dagster.integration.short_sets import LONGEST, LOOKED_BACK, Limit, expected_seconds
from pachyderm_dagster.integration.snapshot import Snapshot
from pachyderm_dagster.log_lines import process_log
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace

POLL_SECONDS = 0.05
LONGEST_SECONDS = 1.0
"""Between two looks where word of changes comes."""
PASSED = dt.timedelta(seconds=2)
"""How long a set that cannot be run now is not looked at again."""
TENDED = dt.timedelta(seconds=10)
"""How often workers that stay between jobs are looked after."""
SERVICES_SECONDS = 1.0
"""How often it is looked what services in pods are to serve."""
LOOKED_AT = 3
"""Requests a look: of the first ones some may have to wait."""


@dataclass(slots=True)
class Reactor:
    """Looks at the record again and again, and runs what has become due for the first time; everything else is the commit sensor's.

    Args:
        code: what is loaded of the workspace, and what launches runs of it.
        is_instant: whether short jobs are done here instead, without a run.
        longest: how long the jobs of a set may be expected to take for that, and take: the rest is left to a run.
    """

    workspace: Workspace
    instance: dg.DagsterInstance
    executor: Executor
    code: Code
    is_instant: bool = False
    longest: dt.timedelta = LONGEST
    owner: str = field(init=False)
    _snapshot: Snapshot = field(default_factory=lambda: Snapshot((), (), ()))
    _projects: Mapping[str, ServedProject] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    """The projects whose leases this one has: another one reacts for the others."""
    _wanted: set[str] = field(default_factory=set)
    """Those for which it was last tried."""
    _passed: dict[str, dt.datetime] = field(default_factory=dict)
    _interrupted: set[str] = field(default_factory=set)
    _too_long: set[str] = field(default_factory=set)
    """The sets that were begun here, and are left to runs."""
    _leased: dt.datetime | None = None
    """Until when this need not be said again."""

    def __post_init__(self) -> None:
        self.owner = self.workspace.database.clock.new_id()

    def serve(self) -> None:
        """Looks until it is interrupted; what it ran then is done by whoever comes next."""
        with self.workspace.changes.watch() as watcher:
            while True:
                try:
                    self.hold_on()
                    worked = self.look()
                except (PachydermError, OSError) as error:
                    # The record is away, the disk is full: the sensor takes what is left too long.
                    process_log.error("%s", error)
                    time.sleep(PASSED.total_seconds())
                    continue
                if not worked:
                    watcher.wait(POLL_SECONDS, self._idle_seconds())

    def _idle_seconds(self) -> float:
        """How long nothing has to be looked at unless something changes: a set that was passed comes back, of which nobody gives word."""
        soonest = min(((until - self._now()).total_seconds() for until in self._passed.values()), default=math.inf)
        return max(POLL_SECONDS, min(LONGEST_SECONDS, soonest))

    def look(self) -> bool:
        """Runs one set that is due, if there is one; whether it did."""
        now = self._now()
        self._passed = {set_id: until for set_id, until in self._passed.items() if until > now}
        with self.workspace.database.read() as txn:
            waiting = [found for found in jobs.list_unfinished_set(txn) if found[1] not in self._passed]
            if waiting:
                self._snapshot = read_snapshot(txn)
        if not waiting:
            return False
        self._projects = self.code.serve(self._snapshot)
        self.hold_on()
        stopped = stopped_names(self.instance)
        for project in sorted({project for project, _ in waiting}):
            if project in self._held and sensor_name(project) not in stopped and self._look_at(project, self._projects[project]):
                return True
            self._pass(set_id for of, set_id in waiting if of == project)
        return False

    def _look_at(self, project: str, served: ServedProject) -> bool:
        with hold(self.workspace.leases, request_lease(project), self.owner) as held:
            is_free = held is not None and not self.workspace.leases.is_held(asked_lease(project))
            request = self._find(project, served) if is_free else None
            if request is None:
                return False
            # Whatever comes of it: the sensor has it then.
            self._pass([request.set_id])
            if not (self.is_instant and self._may_run(project) and self._is_short(request, served)):
                has_room = room_for_runs(self.instance, job_name(project), served.limits) != 0
                if has_room:
                    self._launch(request, served)
                return has_room
            taken = self.workspace.leases.acquire(set_lease(request.set_id), self.owner, LEASE_TIME)
        if taken:
            with HeldLease(self.workspace.leases, set_lease(request.set_id), self.owner):
                self._run(request, served)
        return taken

    def _find(self, project: str, served: ServedProject) -> SetRequest | None:
        """The oldest due set that nobody has tried."""
        most = 1 if self.is_instant else served.limits.sets_per_run
        sets = DueSets(self.workspace, self.instance, self.executor, project, served.pipelines, most_sets=most, only_alike=bool(served.by_set))
        others = self._passed.keys() | self._interrupted
        return next((request for request in sets.look({}, limit=LOOKED_AT).requests if request.attempt == 1 and request.set_id not in others), None)

    def _pass(self, set_ids: Iterable[str]) -> None:
        self._passed |= dict.fromkeys(set_ids, self._now() + PASSED)

    def _launch(self, request: SetRequest, served: ServedProject) -> None:
        tags = {**request.tags, labels.STARTED_BY: labels.REACTOR}
        if served.by_set & set(request.pipelines):
            with self.workspace.database.read() as txn:
                partition = partition_of_run(txn, request.pipelines[0], request.last_set)
            # Dagster takes no run of a partition that it does not know.
            self.instance.add_dynamic_partitions(labels.COMMIT_SETS, [partition])
            tags[labels.PARTITION] = partition
        try:
            self.code.launch(request.project, [served.pipelines[name] for name in request.pipelines], tags)
        except (ExecutionError, UnreachableError) as error:
            # The code location may not know a new pipeline yet; the web server may not be up.
            process_log.error("%s", error)

    def _may_run(self, project: str) -> bool:
        """Whether jobs of a project are done by this executor: a run that is launched has that of its daemon."""
        return not find_other_executors(self.workspace.leases, [project], self.workspace.settings.executor)

    def _is_short(self, request: SetRequest, served: ServedProject) -> bool:
        """Whether the jobs of a set can be expected to be, and nothing but jobs is to do."""
        if request.set_id in self._too_long or served.by_run & set(request.pipelines):
            return False
        with self.workspace.database.read() as txn:
            ended = [jobs.list_job(txn, pipeline=name, ended_only=True, number=LOOKED_BACK) for name in request.pipelines]
        return sum(expected_seconds(one, self.longest) for one in ended) <= self.longest.total_seconds()

    def _run(self, request: SetRequest, served: ServedProject) -> None:
        """Does the jobs of a set here, and tells Dagster of each as a run would."""
        outputs = {pipeline.output for pipeline in self._snapshot.pipelines}
        limit = Limit.begin(self._now, self.longest)
        for job in request.jobs:
            try:
                limit.check()
                ended = run_job(self.workspace, job, executor=self.executor, check=limit.check)
                # Behind the job, which need not wait for it; before the events of the job, which name those of what it read.
                report_inputs(self.instance, self.workspace, ended, served.assets, outputs)
            except (PachydermError, OSError) as error:
                # Somebody else has it, it was stopped, it waits for a job that failed; or no worker starts here.
                process_log.warning("job %s: %s", job, error)
                if isinstance(error, ExecutionError) and limit.is_over():
                    self._too_long.add(request.set_id)
                    # The next look launches that run.
                    self._passed.pop(request.set_id, None)
                    return
                if not isinstance(error, ConflictError | StateError | NotFoundError):
                    # The disk is full, or the like: the sensor's runs are few, and wait longer each time.
                    self._interrupted.add(job.id)
                continue
            self._tell(ended, served)
            if not ended.state.has_output:
                for unrunnable in end_unrunnable_jobs(self.workspace, self.executor, ended.id, None):
                    self._tell(unrunnable, served)

    def _tell(self, job: Job, served: ServedProject) -> None:
        output = next((pipeline.output for pipeline in self._snapshot.pipelines if pipeline.name == job.pipeline), None)
        if output is None:
            # A service, of which Dagster has no step, nor a check.
            return
        if job.state.has_output:
            made = find_untold_output(self.instance, self.workspace, job, served.assets)
            if made is not None:
                if made.partition is not None:
                    self.instance.add_dynamic_partitions(labels.COMMIT_SETS, [made.partition])
                self.instance.report_runless_asset_event(made)
        report_check(self.instance, ended_check(self.workspace, job, served.assets.key_of(output)))

    def hold_on(self) -> list[str]:
        """Lets the sensors know that somebody reacts; the projects for which another one does."""
        now = self._now()
        if self._leased is None or now >= self._leased or self._projects.keys() != self._wanted:
            if not self._projects:
                with self.workspace.database.read() as txn:
                    self._snapshot = read_snapshot(txn)
                self._projects = self.code.serve(self._snapshot)
            self._held = {project for project in self._projects if self.workspace.leases.acquire(reactor_lease(project), self.owner, LEASE_TIME)}
            self._leased, self._wanted = now + LEASE_TIME / 3, set(self._projects)
        return sorted(self._projects.keys() - self._held)

    def let_go(self) -> None:
        """Gives the leases back; what cannot be given back ends by itself."""
        held, self._held, self._leased = self._held, set(), None
        with contextlib.suppress(PachydermError):
            for project in held:
                self.workspace.leases.release(reactor_lease(project), self.owner)

    def _now(self) -> dt.datetime:
        return self.workspace.database.clock.now()


@contextlib.contextmanager
def open_reactor(workspace: Workspace, environ: Mapping[str, str], instance: dg.DagsterInstance, code: Code, *, is_instant: bool) -> Iterator[Reactor]:
    """A reactor for a workspace, which was opened from `environ`. Errors as `open_executor`."""
    with contextlib.ExitStack() as exits:
        executor = exits.enter_context(open_executor(workspace, environ))
        exits.enter_context(Watch(going_on(lambda: tend_workers(workspace, with_services=False)), lambda: None, TENDED.total_seconds()))
        services = service_keeper(workspace)
        if services is not None:
            exits.enter_context(Watch(going_on(services.step), lambda: None, SERVICES_SECONDS))
        reactor = Reactor(workspace, instance, executor, code, is_instant)
        try:
            yield reactor
        finally:
            reactor.let_go()
