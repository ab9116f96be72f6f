"""CronWorkflows as schedules: when their workflows start, and when not."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.argo.cron import FORBID, REPLACE, CronHistory, stop_expression, why_not_started
from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.argo.subject import with_values
from pachyderm_dagster.argo.workflows import CronWorkflow
from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.integration.argo_loading import LoadedWorkflow
from pachyderm_dagster.integration.dagster_inner import cancel_run
from pachyderm_dagster.schedules import NEVER, crontab_of, newest_tick, next_tick

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def schedules_of(workflow: LoadedWorkflow, job: dg.JobDefinition, *, clock: Clock | None = None) -> Iterator[dg.ScheduleDefinition | dg.SensorDefinition]:
    """What starts the job of a CronWorkflow: a schedule for the times that cron can say, and a sensor for each `@every`, which count from the last start.

    Raises:
        InvalidError: `parameter-missing`, when its workflow asks for a parameter that it does not give.
    """
    cron = workflow.cron
    assert cron is not None
    with_values(workflow.spec, {}, workflow.library)
    texts = cron.spec.schedules or (cron.spec.schedule,)
    crontabs = [found for text in texts if (found := crontab_of(text)) is not None]
    if crontabs:
        yield _schedule(cron, job, list(dict.fromkeys(crontabs)), clock or SystemClock())
    every = [text for text in texts if crontab_of(text) is None and text != NEVER]
    for index, text in enumerate(every):
        yield _sensor(cron, job, text, f"{job.name}_every{f'_{index}' if index else ''}", clock or SystemClock())


def _schedule(cron: CronWorkflow, job: dg.JobDefinition, crontabs: list[str], clock: Clock) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return ask(cron, context.instance, context.scheduled_execution_time, clock)

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        cron_schedule=crontabs,
        execution_timezone=cron.spec.timezone or "UTC",
        execution_fn=tick,
        job=job,
        default_status=dg.DefaultScheduleStatus.STOPPED if cron.spec.suspend else dg.DefaultScheduleStatus.RUNNING,
        description=_description(cron),
    )


def _sensor(cron: CronWorkflow, job: dg.JobDefinition, every: str, name: str, clock: Clock) -> dg.SensorDefinition:
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = clock.now()
        if not context.cursor:
            return dg.SensorResult(skip_reason=f"The first time is {every.removeprefix('@every ')} from now.", cursor=now.isoformat())
        due = newest_tick(every, dt.datetime.fromisoformat(context.cursor), now)
        if due is None:
            return dg.SensorResult(skip_reason="It is not time yet.", cursor=context.cursor)
        found = ask(cron, context.instance, due, clock)
        if isinstance(found, dg.SkipReason):
            return dg.SensorResult(skip_reason=found, cursor=due.isoformat())
        return dg.SensorResult(run_requests=[found], cursor=due.isoformat())

    first = next_tick(every, _EPOCH)
    assert first is not None
    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        job=job,
        minimum_interval_seconds=max(1, min(30, int((first - _EPOCH).total_seconds()))),
        default_status=dg.DefaultSensorStatus.STOPPED if cron.spec.suspend else dg.DefaultSensorStatus.RUNNING,
        description=_description(cron),
    )


def ask(cron: CronWorkflow, instance: dg.DagsterInstance, scheduled: dt.datetime, clock: Clock) -> dg.RunRequest | dg.SkipReason:
    """The run that a CronWorkflow asks for when a time has come, unless it forbids itself to. Runs that it replaces are ended."""
    scheduled = scheduled.astimezone(dt.UTC)
    own = {labels.CRON_WORKFLOW: cron.metadata.name}
    reason = why_not_started(cron, scheduled, _history(cron, instance, scheduled), clock)
    if reason is not None:
        return dg.SkipReason(f"CronWorkflow {cron.metadata.name}: {reason}.")
    key = str(int(scheduled.timestamp()))
    active = [run for run in instance.get_runs(dg.RunsFilter(tags=own, statuses=_ACTIVE)) if run.tags.get(labels.SCHEDULED_TIME) != rfc3339(scheduled)]
    if active and cron.spec.concurrency_policy == FORBID:
        return dg.SkipReason(f"CronWorkflow {cron.metadata.name}: {active[0].tags.get(labels.WORKFLOW)} is not done, and 'concurrencyPolicy' is 'Forbid'.")
    if cron.spec.concurrency_policy == REPLACE:
        for run in active:
            cancel_run(instance, run.run_id)
    tags = {**own, labels.WORKFLOW: f"{cron.metadata.name}-{key}", labels.SCHEDULED_TIME: rfc3339(scheduled)}
    return dg.RunRequest(run_key=key, tags=tags)


def _history(cron: CronWorkflow, instance: dg.DagsterInstance, scheduled: dt.datetime) -> CronHistory:
    own = {labels.CRON_WORKFLOW: cron.metadata.name}
    times = (run.tags.get(labels.SCHEDULED_TIME) for run in instance.get_runs(dg.RunsFilter(tags=own), limit=20))
    before = [found for text in times if text and (found := dt.datetime.fromisoformat(text)) < scheduled]
    last = max(before, default=None)
    if not stop_expression(cron):
        return CronHistory(last)

    def count(status: dg.DagsterRunStatus) -> int:
        return instance.get_runs_count(dg.RunsFilter(tags=own, statuses=[status]))

    return CronHistory(last, failed=count(dg.DagsterRunStatus.FAILURE), succeeded=count(dg.DagsterRunStatus.SUCCESS))


def _description(cron: CronWorkflow) -> str:
    policy = cron.spec.concurrency_policy or "Allow"
    return f"Starts workflows of CronWorkflow {cron.metadata.name}; while one is not done: {policy}."
