"""A process that runs commit sets the moment they are due: it launches their Dagster runs, or does the jobs itself and tells Dagster (docs/design/0019)."""

import argparse
import contextlib
import datetime as dt
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease, hold
from pachyderm_dagster.coordination.names import asked_lease, reactor_lease, request_lease, set_lease
from pachyderm_dagster.errors import ConflictError, ExecutionError, NotFoundError, PachydermError, StateError, UnreachableError
from pachyderm_dagster.executors.choosing import open_executor
from pachyderm_dagster.executors.run_job import Executor, run_job
from pachyderm_dagster.executors.unrunnable import end_unrunnable_jobs
from pachyderm_dagster.integration.automation import job_name
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.due_runs import MOST_SETS, DueSets, SetRequest
from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.integration.job_reports import ended_check, find_untold_output, report_check, report_inputs
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.integration.snapshot import InputBranch, Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, keys_elsewhere
from pachyderm_dagster.integration.web_api import launch_run
from pachyderm_dagster.log_lines import TEXT, process_log, set_up
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.workspace import Workspace, open_workspace

POLL_SECONDS = 0.05
LONGEST_SECONDS = 1.0
"""Between two looks where word of changes comes."""
PASSED = dt.timedelta(seconds=2)
"""How long a set that cannot be run now is not looked at again."""
LONGEST = dt.timedelta(seconds=30)
"""A pipeline of which a recent job took longer, or none has ended yet, gets a run: that is no matter of an instant, and others would wait."""
RECENT_JOBS = 3
LOOKED_AT = 3
"""Requests a look: of the first ones some may have to wait."""


class Launches(Protocol):
    """Launches runs."""

    def launch(self, job: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Has these assets of a job run, with these tags; raises ExecutionError or UnreachableError when that cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Launcher:
    """Launches runs by a web server that knows the code location by this name."""

    url: str
    location: str

    def launch(self, job: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Has these assets of a job run. Errors as `web_api.launch_run`."""
        launch_run(self.url, self.location, job, [key.path for key in keys], tags)


@dataclass(slots=True)
class Reactor:
    """Looks at the record again and again, and runs what has become due for the first time; everything else is the commit sensor's.

    Args:
        launcher: launches runs.
        is_instant: whether short jobs are done here instead, without a run.
        longest: how long recent jobs of a pipeline may have taken for that.
    """

    workspace: Workspace
    instance: dg.DagsterInstance
    executor: Executor
    launcher: Launches
    is_instant: bool = False
    longest: dt.timedelta = LONGEST
    owner: str = field(init=False)
    _snapshot: Snapshot = field(default_factory=lambda: Snapshot((), (), ()))
    _keys: dict[BranchName, dg.AssetKey] = field(default_factory=dict)
    _passed: dict[str, dt.datetime] = field(default_factory=dict)
    _interrupted: set[str] = field(default_factory=set)
    _leased: dt.datetime | None = None
    """Until when this need not be said again."""

    def __post_init__(self) -> None:
        self.owner = self.workspace.database.clock.new_id()

    def serve(self) -> None:
        """Looks until it is interrupted; what it ran then is done by whoever comes next."""
        try:
            with self.workspace.changes.watch() as watcher:
                while True:
                    try:
                        self._hold_on()
                        worked = self.look()
                    except (PachydermError, OSError) as error:
                        # The record is away, the disk is full: the sensor takes what is left too long.
                        process_log.error("%s", error)
                        time.sleep(PASSED.total_seconds())
                        continue
                    if not worked:
                        watcher.wait(POLL_SECONDS, self._idle_seconds())
        finally:
            for project in self._snapshot.projects:
                self.workspace.leases.release(reactor_lease(project), self.owner)

    def _idle_seconds(self) -> float:
        """How long nothing has to be looked at unless something changes: a set that was passed comes back, of which nobody gives word."""
        soonest = min(((until - self._now()).total_seconds() for until in self._passed.values()), default=math.inf)
        return max(POLL_SECONDS, min(LONGEST_SECONDS, soonest))

    def look(self) -> bool:
        """Runs one set that is due, if there is one; whether it did."""
        now = self._now()
        self._passed = {set_id: until for set_id, until in self._passed.items() if until > now}
        with self.workspace.database.read() as txn:
            waiting = [job for job in jobs.list_job(txn, unfinished_only=True) if job.id not in self._passed]
            if waiting:
                self._load(read_snapshot(txn))
        for project in sorted({job.pipeline.project for job in waiting}):
            if self._look_at(project):
                return True
            self._pass(job.id for job in waiting if job.pipeline.project == project)
        return False

    def _look_at(self, project: str) -> bool:
        with hold(self.workspace.leases, request_lease(project), self.owner) as held:
            is_free = held is not None and not self.workspace.leases.is_held(asked_lease(project))
            request = self._find(project) if is_free else None
            if request is None:
                return False
            # Whatever comes of it: the sensor has it then.
            self._pass([request.set_id])
            if not (self.is_instant and self._is_short(request)):
                self._launch(request)
                return True
            taken = self.workspace.leases.acquire(set_lease(request.set_id), self.owner, LEASE_TIME)
        if taken:
            with HeldLease(self.workspace.leases, set_lease(request.set_id), self.owner):
                self._run(request)
        return taken

    def _find(self, project: str) -> SetRequest | None:
        """The oldest due set that nobody has tried."""
        keys = {pipeline.name: self._keys[pipeline.output] for pipeline in self._snapshot.pipelines if pipeline.name.project == project}
        found = DueSets(self.workspace, self.instance, self.executor, project, keys, most_sets=1 if self.is_instant else MOST_SETS).look({}, limit=LOOKED_AT)
        others = self._passed.keys() | self._interrupted
        return next((request for request in found.requests if request.attempt == 1 and request.set_id not in others), None)

    def _pass(self, set_ids: Iterable[str]) -> None:
        self._passed |= dict.fromkeys(set_ids, self._now() + PASSED)

    def _launch(self, request: SetRequest) -> None:
        keys = {pipeline.name: self._keys[pipeline.output] for pipeline in self._snapshot.pipelines}
        try:
            self.launcher.launch(job_name(request.project), [keys[name] for name in request.pipelines], request.tags)
        except (ExecutionError, UnreachableError) as error:
            # The code location may not know a new pipeline yet; the web server may not be up.
            process_log.error("%s", error)

    def _is_short(self, request: SetRequest) -> bool:
        """Whether the jobs of a set can be expected to be."""
        with self.workspace.database.read() as txn:
            recent = {name: jobs.list_job(txn, pipeline=name, ended_only=True, number=RECENT_JOBS) for name in request.pipelines}
        return all(ended and all(_seconds(job) <= self.longest.total_seconds() for job in ended) for ended in recent.values())

    def _run(self, request: SetRequest) -> None:
        """Does the jobs of a set here, and tells Dagster of each as a run would."""
        outputs = {pipeline.output for pipeline in self._snapshot.pipelines}
        for job in request.jobs:
            try:
                ended = run_job(self.workspace, job, executor=self.executor)
                # Behind the job, which need not wait for it; before the events of the job, which name those of what it read.
                report_inputs(self.instance, self.workspace, ended, self._assets, outputs)
            except (PachydermError, OSError) as error:
                # Somebody else has it, it was stopped, it waits for a job that failed; or no worker starts here.
                process_log.warning("job %s: %s", job, error)
                if not isinstance(error, ConflictError | StateError | NotFoundError):
                    # The disk is full, or the like: the sensor's runs are few, and wait longer each time.
                    self._interrupted.add(job.id)
                continue
            self._tell(ended)
            if not ended.state.has_output:
                for unrunnable in end_unrunnable_jobs(self.workspace, self.executor, ended.id, None):
                    self._tell(unrunnable)

    def _tell(self, job: Job) -> None:
        output = next((pipeline.output for pipeline in self._snapshot.pipelines if pipeline.name == job.pipeline), None)
        if output is None:
            # A service, of which Dagster has no step, nor a check.
            return
        key = self._keys[output]
        if job.state.has_output:
            made = find_untold_output(self.instance, self.workspace, job, self._assets)
            if made is not None:
                self.instance.report_runless_asset_event(made)
        report_check(self.instance, ended_check(self.workspace, job, key))

    def _load(self, snapshot: Snapshot) -> None:
        if snapshot == self._snapshot:
            return
        translator = PachydermTranslator()
        self._snapshot = snapshot
        self._keys = {branch.name: translator.get_asset_spec(branch).key for branch in snapshot.branches}
        self._keys |= {pipeline.output: translator.get_asset_spec(pipeline).key for pipeline in snapshot.pipelines}
        self._keys |= keys_elsewhere(snapshot.assets)

    @property
    def _assets(self) -> BranchAssets:
        return BranchAssets(self._key_of)

    def _key_of(self, branch: BranchName) -> dg.AssetKey:
        return self._keys[branch] if branch in self._keys else PachydermTranslator().get_asset_spec(InputBranch(branch, "")).key

    def _hold_on(self) -> None:
        """Lets the sensors know that somebody reacts."""
        now = self._now()
        if self._leased is not None and now < self._leased:
            return
        if not self._snapshot.projects:
            with self.workspace.database.read() as txn:
                self._load(read_snapshot(txn))
        for project in self._snapshot.projects:
            self.workspace.leases.acquire(reactor_lease(project), self.owner, LEASE_TIME)
        self._leased = now + LEASE_TIME / 3

    def _now(self) -> dt.datetime:
        return self.workspace.database.clock.now()


@contextlib.contextmanager
def open_reactor(environ: Mapping[str, str], launcher: Launcher, *, is_instant: bool) -> Iterator[Reactor]:
    """A reactor for the workspace that `environ` names. Errors as `open_workspace`."""
    workspace = open_workspace(environ)
    try:
        with open_instance(workspace.settings) as instance, open_executor(workspace, environ) as executor:
            yield Reactor(workspace, instance, executor, launcher, is_instant)
    finally:
        workspace.close()


def _seconds(job: Job) -> float:
    return 0.0 if job.started is None or job.finished is None else (job.finished - job.started).total_seconds()


def main(words: Sequence[str]) -> int:
    """The process of `pachyderm-dagster dev`."""
    parser = argparse.ArgumentParser(description="Runs commit sets the moment they are due.")
    parser.add_argument("--url", required=True, help="Dagster's web server")
    parser.add_argument("--location", required=True, help="the code location's name there")
    parser.add_argument("--instant", action="store_true", help="do short jobs in this process")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    set_up(TEXT)
    try:
        set_up(load_settings(os.environ).log_format)
        with open_reactor(os.environ, Launcher(asked.url, asked.location), is_instant=asked.instant) as reactor:
            reactor.serve()
    except KeyboardInterrupt:
        pass
    except PachydermError as error:
        process_log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
