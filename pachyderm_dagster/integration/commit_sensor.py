"""The commit sensor of a project: tells Dagster of finished commits, makes cron ticks, and asks for a run for every commit set whose inputs are finished."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
import msgspec

from pachyderm_dagster.coordination.drivers import SENSOR_LEASE_TIME, SENSOR_OWNER, tell_tick
from pachyderm_dagster.coordination.leases import hold
from pachyderm_dagster.coordination.names import asked_lease, request_lease, unloaded_lease
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.cron_ticks import make_due_ticks
from pachyderm_dagster.integration.dagster_inner import stopped_names
from pachyderm_dagster.integration.due_runs import REACTION, DueRuns, DueSets, SetRequest
from pachyderm_dagster.integration.finished_commits import Walked, moved_heads, walk_commits
from pachyderm_dagster.integration.sensor_limits import USUAL, SensorLimits, room_for_runs
from pachyderm_dagster.integration.set_partitions import PartitionChange, change_partitions, partition_of_run
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CommitSensor:
    """What the sensor of one project needs to know of the loaded code location.

    Args:
        pipelines: the asset of each pipeline of the project.
        heads: the asset of each input branch of the project.
        assets: of all branches.
        job_name: the job that runs the project's pipelines.
        by_set: the pipelines whose partitions are commit sets.
        schedules: the schedule of each pipeline that has one.
        limits: how much a tick takes.
    """

    project: str
    pipelines: Mapping[RepoName, dg.AssetKey]
    heads: Mapping[BranchName, dg.AssetKey]
    assets: BranchAssets
    job_name: str
    by_set: frozenset[RepoName] = frozenset()
    schedules: Mapping[RepoName, str] = field(default_factory=dict)
    limits: SensorLimits = USUAL

    @property
    def is_by_set(self) -> bool:
        """Whether commit sets are partitions of any of them."""
        return bool(self.by_set)

    def tick(self, context: dg.SensorEvaluationContext, workspace: Workspace, executor: Executor) -> dg.SensorResult | dg.SkipReason:
        """One tick: ticks of cron inputs, then events, then run requests.

        Requests wait until every finished commit has its event, so that the events are in order and there before a run looks for them.
        """
        tell_tick(workspace.leases, self.project, workspace.settings.executor)
        try:
            make_due_ticks(workspace, self.project, scheduled=self.schedules, stopped=self._stopped(context))
        except PachydermError as error:
            # A clock that cannot be served now holds up nobody else; its ticks are made up for.
            context.log.warning("ticks of cron inputs have to wait: %s", error)
        walked = Walked.decode(context.cursor)
        walk = walk_commits(workspace, context.instance, self.project, self.assets, walked, most=self.limits.commits_per_tick)
        due = DueRuns(silent=_times(walked.silent))
        if walk.is_complete:
            walk.events += moved_heads(workspace, context.instance, self.heads, walk.events, self.assets)
            due = self._due_runs(context, workspace, executor, due)
        unloaded = self._tell_unloaded(context, workspace, due, walked.unloaded)
        partitions = self._partitions(context, workspace, walked)
        silent = {run_id: time.timestamp() for run_id, time in due.silent.items()}
        cursor = msgspec.structs.replace(walk.walked, silent=silent, partitioned=partitions.looked, unloaded=unloaded).encode()
        if not walk.events and not due.requests and not partitions.requests():
            context.update_cursor(cursor)
            return dg.SkipReason("; ".join(due.waiting[:3]) or "No new commit, and every due commit set has its run.")
        return dg.SensorResult(
            run_requests=[self.request(request, workspace) for request in due.requests],
            asset_events=walk.events,
            dynamic_partitions_requests=partitions.requests(),
            cursor=cursor,
        )

    def _stopped(self, context: dg.SensorEvaluationContext) -> list[RepoName]:
        """The pipelines whose schedules a user stopped."""
        if not self.schedules:
            return []
        stopped = stopped_names(context.instance)
        return [name for name, schedule in self.schedules.items() if schedule in stopped]

    def _tell_unloaded(self, context: dg.SensorEvaluationContext, workspace: Workspace, due: DueRuns, told: Sequence[str]) -> tuple[str, ...]:
        """Says which pipelines nobody runs: in the log when that changes, and by leases to whoever waits for them."""
        if due.unloaded is None:
            return tuple(told)
        found = tuple(map(str, due.unloaded))
        if set(found) - set(told):
            context.log.warning(due.waiting[0])
        for name in due.unloaded:
            workspace.leases.acquire(unloaded_lease(name.project, name.name), SENSOR_OWNER, SENSOR_LEASE_TIME)
        for name in (parse_repo(text) for text in told if text not in found):
            workspace.leases.release(unloaded_lease(name.project, name.name), SENSOR_OWNER)
        return found

    def _partitions(self, context: dg.SensorEvaluationContext, workspace: Workspace, walked: Walked) -> PartitionChange:
        if not self.is_by_set:
            return PartitionChange((), (), walked.partitioned)
        with workspace.database.read() as txn:
            return change_partitions(txn, context.instance, self.project, walked.partitioned)

    def _due_runs(self, context: dg.SensorEvaluationContext, workspace: Workspace, executor: Executor, before: DueRuns) -> DueRuns:
        lease, owner = request_lease(self.project), workspace.database.clock.new_id()
        with hold(workspace.leases, lease, owner) as held:
            if held is None:
                before.waiting.append("a run started by hand is making its commit set")
                return before
            most_sets, only_alike = self.limits.sets_per_run, self.is_by_set
            sets = DueSets(workspace, context.instance, executor, self.project, self.pipelines, leaves_fresh=True, most_sets=most_sets, only_alike=only_alike)
            found = sets.look(before.silent, limit=self.limits.runs_per_tick)
            # Behind the look, which ends runs that are dead: they would hold up the others for ever.
            found.keep(room_for_runs(context.instance, self.job_name, self.limits))
            if found.requests:
                workspace.leases.acquire(asked_lease(self.project), SENSOR_OWNER, REACTION)
            return found

    def request(self, request: SetRequest, workspace: Workspace) -> dg.RunRequest:
        """Dagster's form of a request."""
        keys = [self.pipelines[name] for name in request.pipelines]
        partition = None
        if self.by_set & set(request.pipelines):
            with workspace.database.read() as txn:
                partition = partition_of_run(txn, request.pipelines[0], request.last_set)
        return dg.RunRequest(run_key=request.run_key, job_name=self.job_name, asset_selection=keys, tags=request.tags, partition_key=partition)


def _times(stored: Mapping[str, float]) -> dict[str, dt.datetime]:
    return {run_id: dt.datetime.fromtimestamp(time, dt.UTC) for run_id, time in stored.items()}
