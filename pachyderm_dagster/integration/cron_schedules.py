"""A tick of a cron pipeline's schedule: commits what is due, and asks for the run of it at once."""

from collections.abc import Collection

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import request_lease, set_lease
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.integration.commit_sensor import CommitSensor
from pachyderm_dagster.integration.cron_ticks import make_scheduled_ticks
from pachyderm_dagster.integration.due_runs import REACTION, SCHEDULE_OWNER, DueSets
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.workspace import Workspace

_MOST_RUNS = 20
# Dagster's tags of runs that a schedule asked for.
SCHEDULE_NAME = "dagster/schedule_name"
RUN_KEY = "dagster/run_key"


def run_schedule(
    context: dg.ScheduleEvaluationContext, workspace: Workspace, executor: Executor, sensor: CommitSensor, name: RepoName
) -> list[dg.RunRequest] | list[dg.SkipReason]:
    """Makes the ticks of a pipeline that are due, and asks for the runs of their commit sets that nobody has tried.

    Evaluated again for the same time, as after a daemon that died, it makes none and asks for the same runs, unless these have started by then.

    Raises:
        ConflictError: `requests-busy`; the tick is then made by the sensor.
    """
    try:
        ticked = set(make_scheduled_ticks(workspace, name, context.scheduled_execution_time))
    except StateError as error:
        return [dg.SkipReason(str(error))]
    with wait_for(workspace.leases, request_lease(name.project), workspace.database.clock.new_id()):
        for set_id in ticked:
            # The hold of an evaluation that went before this one, and is over.
            workspace.leases.release(set_lease(set_id), SCHEDULE_OWNER)
        due = DueSets(
            workspace, context.instance, executor, name.project, sensor.pipelines, most_sets=sensor.limits.sets_per_run, only_alike=sensor.is_by_set
        ).look({}, limit=_MOST_RUNS)
        asked = [request for request in due.requests if request.attempt == 1 and request.set_id in ticked]
        for set_id in (set_id for request in asked for set_id in (request.set_id, *request.along)):
            # Until Dagster has made the run, nobody else is to ask for it. If the daemon dies before that, the sensor does a little later.
            workspace.leases.acquire(set_lease(set_id), SCHEDULE_OWNER, REACTION)
    requests = [sensor.request(request, workspace) for request in asked]
    requests += _begun(context.instance, sensor.schedules[name], ticked)
    return requests or [dg.SkipReason("; ".join(due.waiting[:3]) or "The tick has its run.")]


def _begun(instance: dg.DagsterInstance, schedule: str, ticked: Collection[str]) -> list[dg.RunRequest]:
    """Runs that a daemon made and did not launch before it died: asked for by the same key, Dagster launches them."""
    waiting = dg.RunsFilter(tags={SCHEDULE_NAME: schedule}, statuses=[dg.DagsterRunStatus.NOT_STARTED])
    return [
        dg.RunRequest(run_key=run.tags[RUN_KEY], asset_selection=list(run.asset_selection or ()), tags={labels.COMMIT_SET: run.tags[labels.COMMIT_SET]})
        for run in instance.get_runs(waiting)
        if run.tags.get(labels.COMMIT_SET) in ticked
    ]
