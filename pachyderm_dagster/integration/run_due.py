"""Runs due commit sets in this process, as the Dagster runs that a daemon would start: same definitions, same history."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg
from sqlalchemy.exc import OperationalError

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.drivers import find_other_executors
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease, hold
from pachyderm_dagster.coordination.names import request_lease, sensor_lease, set_lease
from pachyderm_dagster.errors import ExecutionError, PachydermError, StorageError
from pachyderm_dagster.executors.choosing import open_executor
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.integration.automation import job_name
from pachyderm_dagster.integration.building import define
from pachyderm_dagster.integration.due_runs import DueRuns, DueSets, SetRequest
from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.integration.job_step import OnJob, tell_nobody
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.integration.snapshot import Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace

POLL_SECONDS = 0.3
# The terminal is the command line's; everything is in the run's log.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_due(
    workspace: Workspace,
    environ: Mapping[str, str],
    *,
    until: Callable[[], bool],
    project: str | None = None,
    on_job: OnJob = tell_nobody,
    on_wait: Callable[[str], None] = lambda _reason: None,
    on_warning: Callable[[str], None] | None = None,
) -> bool:
    """Runs the due commit sets of a project (None: of all), oldest first, until `until()`, or nothing is due, or a daemon is there to do it; none of a
    project whose daemon ran them elsewhere (`find_other_executors`).

    A set that another process is running is waited for, and taken over when that process died.

    Args:
        environ: from which `workspace` was opened.
        on_job: is told how far each job is, about once a second.
        on_wait: takes a line that says what is waited for, whenever that changes.
        on_warning: takes a line that says what keeps a job from going on, as that its pods do not start.

    Returns:
        Whether `until()` held at the end.

    Raises:
        ExecutionError: `run-failed`, when a run ended without finishing its jobs: then something is wrong beside the user's code.
        StorageError: `dagster-unusable`, when Dagster's own databases cannot be read or written.
        KeyboardInterrupt: the jobs stay as they are; whoever runs them next goes on.
    """
    with (
        _dagster_errors_told(workspace),
        open_instance(workspace.settings) as instance,
        open_executor(workspace, environ) as executor,
        workspace.changes.watch() as watcher,
    ):
        here = _Here(workspace, environ, instance, executor, on_job, on_warning)
        said = ""
        while not until():
            waiting = here.run_one(project)
            if waiting is None:
                continue
            if not waiting:
                return until()
            if waiting[0] != said:
                said = waiting[0]
                on_wait(said)
            watcher.wait(POLL_SECONDS, POLL_SECONDS)
        return True


@contextlib.contextmanager
def _dagster_errors_told(workspace: Workspace) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        # The record's own are told where they arise.
        problem = f"Dagster's databases in {workspace.settings.dagster_home} cannot be used: {error.orig}"
        raise StorageError("dagster-unusable", f"{problem}; the disk may be full: look at `df`, free some space and try again") from error


@dataclass(frozen=True, slots=True)
class _Location:
    """The definitions of one snapshot."""

    snapshot: Snapshot
    definitions: dg.Definitions
    keys: Mapping[RepoName, dg.AssetKey]


@dataclass(slots=True)
class _Here:
    """This process as a runner of commit sets."""

    workspace: Workspace
    environ: Mapping[str, str]
    instance: dg.DagsterInstance
    executor: Executor
    on_job: OnJob
    on_warning: Callable[[str], None] | None
    _location: _Location | None = None
    _silent: dict[str, dict[str, dt.datetime]] = field(default_factory=dict)

    def run_one(self, project: str | None) -> list[str] | None:
        """Runs the oldest due set and returns None; without one, says for what others are waited."""
        location = self._load()
        waiting = []
        projects = location.snapshot.projects if project is None else [project]
        others = find_other_executors(self.workspace.leases, projects, self.workspace.settings.executor)
        for name in projects:
            if name in others or self.workspace.leases.is_held(sensor_lease(name)):
                continue
            owner = self.workspace.database.clock.new_id()
            with hold(self.workspace.leases, request_lease(name), owner) as held:
                if held is None:
                    waiting.append("another process looks for work at this moment")
                    continue
                found = self._look(name, location)
                request = next(iter(found.requests), None)
                taken = request is not None and self.workspace.leases.acquire(set_lease(request.set_id), owner, LEASE_TIME)
            if request is not None and taken:
                with HeldLease(self.workspace.leases, set_lease(request.set_id), owner):
                    self._run(request, location)
                return None
            waiting += found.waiting
        return waiting

    def _load(self) -> _Location:
        """The definitions of the workspace as it is now: pipelines may have come since the last look."""
        with self.workspace.database.read() as txn:
            snapshot = read_snapshot(txn)
        if self._location is None or self._location.snapshot != snapshot:
            translator = PachydermTranslator()
            keys = {pipeline.name: translator.get_asset_spec(pipeline).key for pipeline in snapshot.pipelines}
            self._location = _Location(snapshot, define(snapshot, self.environ, translator, on_job=self.on_job, on_warning=self.on_warning), keys)
        return self._location

    def _look(self, project: str, location: _Location) -> DueRuns:
        keys = {name: key for name, key in location.keys.items() if name.project == project}
        due_sets = DueSets(self.workspace, self.instance, self.executor, project, keys, take_over=True)
        found = due_sets.look(self._silent.get(project, {}), limit=1)
        # Only what was silent at this look: a run that worked in between begins to count anew.
        self._silent[project] = found.silent
        return found

    def _run(self, request: SetRequest, location: _Location) -> None:
        result = location.definitions.resolve_job_def(job_name(request.project)).execute_in_process(
            instance=self.instance,
            run_config=_QUIET,
            asset_selection=[location.keys[name] for name in request.pipelines],
            tags={**request.tags, labels.STARTED_BY: labels.COMMAND_LINE},
            raise_on_error=False,
        )
        if labels.INTERRUPTED in result.dagster_run.tags:
            raise KeyboardInterrupt
        if not result.success and self._unfinished(request):
            names = ", ".join(str(job) for job in self._unfinished(request))
            raise ExecutionError("run-failed", f"Dagster run {result.run_id} ended without finishing {names}: {_reason(result)}; `pachctl wait` tries again")

    def _unfinished(self, request: SetRequest) -> list[Job]:
        with self.workspace.database.read() as txn:
            found = jobs.list_job(txn, set_id=request.set_id, unfinished_only=True)
        return [job for job in found if job.key in {wanted.key for wanted in request.jobs}]


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """What the first step that failed said."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            # An error of ours says what to do, which what it came from does not.
            while error is not None and error.cause is not None and not error.message.startswith(f"{PachydermError.__module__}."):
                error = error.cause
            if error is not None:
                return error.message.strip()
    return "the run's page in Dagster says why"
