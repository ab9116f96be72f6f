"""Triggers of Argo's Sensors: a schedule for one that the clock alone starts, a sensor for any other, and the runs that they ask for."""

import datetime as dt
import importlib
import re
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.argo.event_parameters import Given
from pachyderm_dagster.argo.event_sources import BucketSource, CalendarSource
from pachyderm_dagster.argo.event_times import is_excluded, zone_of
from pachyderm_dagster.argo.events import Origin, calendar_event, event_id
from pachyderm_dagster.argo.kept_objects import MOST_OF_NAME, can_be_kept_as
from pachyderm_dagster.argo.sensors import Dependency
from pachyderm_dagster.argo.subject import with_values
from pachyderm_dagster.argo.triggering import SensorTrigger, StartRequest
from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.integration.argo_config import PARAMETERS
from pachyderm_dagster.integration.argo_loading import LoadedWorkflow
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.pps.object_names import NAME_RULE

_SECONDS, _BUCKET_SECONDS = 5, 30
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MOST_NAME, _DIGITS = 58, 10


@dataclass(frozen=True, slots=True)
class TriggeredJob:
    """A trigger with the job that it starts.

    Attributes:
        environ: names the home; None for that of the process.
    """

    workflow: LoadedWorkflow
    trigger: SensorTrigger
    job_name: str
    environ: Environ | None
    clock: Clock

    def check(self, given: Given) -> None:
        """Does nothing when a run can be asked for with what events give.

        Raises:
            InvalidError: `parameter-missing`, `parameter-invalid`, `workflow-name-invalid`, `label-invalid`.
        """
        for name, value in given.labels.items():
            if not _LABEL.fullmatch(value):
                raise InvalidError("label-invalid", f"{value!r} cannot be the label {name!r}; it takes up to 63 letters, digits, '-', '_' and '.'")
        with_values(self.workflow.spec, given.parameters, self.workflow.library)
        self._name(given, "")

    def request(self, asked: StartRequest) -> dg.RunRequest:
        """The run of a workflow that is to be started, the same for the same events."""
        given = asked.given
        tags = {
            **given.labels,
            labels.SENSOR: self.trigger.sensor.metadata.base_name,
            labels.WORKFLOW: self._name(given, event_id(self.job_name, asked.key)[:_DIGITS]),
        }
        return dg.RunRequest(run_key=asked.key, tags=tags, run_config={PARAMETERS: given.parameters} if given.parameters else {})

    def _name(self, given: Given, digits: str) -> str:
        metadata = self.trigger.workflow.metadata
        beginning = given.name if given.name is not None else metadata.generate_name or f"{metadata.name}-"
        if not can_be_kept_as(f"{beginning}0"):
            raise InvalidError("workflow-name-invalid", f"{beginning!r} begins no name of a workflow; one takes up to {MOST_OF_NAME} {NAME_RULE}")
        return beginning[: _MOST_NAME - _DIGITS] + digits


def trigger_of(
    workflow: LoadedWorkflow, trigger: SensorTrigger, job: dg.JobDefinition, environ: Environ | None, *, clock: Clock | None = None
) -> dg.ScheduleDefinition | dg.SensorDefinition:
    """What starts the job of a trigger. It runs from the beginning, and a sensor takes what happens after its first tick."""
    triggered = TriggeredJob(workflow, trigger, job.name, None if environ is None else dict(environ), clock or SystemClock())
    dependencies = trigger.dependencies
    sources = [trigger.source_of(one) for one in dependencies]
    if len(sources) == 1 and isinstance(sources[0], CalendarSource) and sources[0].schedule:
        return _schedule(triggered, dependencies[0], sources[0], job)
    return _sensor(triggered, _BUCKET_SECONDS if any(isinstance(one, BucketSource) for one in sources) else _SECONDS, job)


def _schedule(triggered: TriggeredJob, dependency: Dependency, calendar: CalendarSource, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return ask_at(triggered, dependency, calendar, context.scheduled_execution_time)

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        cron_schedule=calendar.schedule,
        execution_timezone=calendar.timezone or "UTC",
        execution_fn=tick,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_description(triggered),
    )


def ask_at(triggered: TriggeredJob, dependency: Dependency, calendar: CalendarSource, time: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    """The run that a time of a calendar asks for, unless it is left out."""
    if is_excluded(calendar, time):
        return dg.SkipReason("There are no events on this day.")
    event = calendar_event(Origin(dependency.event_source_name, dependency.event_name), time, zone_of(calendar), calendar.metadata)
    reason = triggered.trigger.why_left_out(dependency, event, triggered.clock)
    if reason is not None:
        return dg.SkipReason(f"The event is left out: {reason}.")
    try:
        asked = triggered.trigger.request_for({dependency.name: event}, triggered.clock)
        triggered.check(asked.given)
    except PachydermError as error:
        return dg.SkipReason(f"Nothing is started: {error.message}.")
    return triggered.request(asked)


def _sensor(triggered: TriggeredJob, seconds: int, job: dg.JobDefinition) -> dg.SensorDefinition:
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # What reads the record is imported by the first tick.
        found: dg.SensorResult = importlib.import_module("pachyderm_dagster.integration.argo_event_ticks").tick(triggered, context)
        return found

    return dg.SensorDefinition(
        name=f"{job.name}_sensor",
        evaluation_fn=tick,
        job=job,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_description(triggered),
    )


def _description(triggered: TriggeredJob) -> str:
    trigger = triggered.trigger
    events = ", ".join(f"{one.event_source_name}/{one.event_name}" for one in trigger.dependencies)
    return f"Starts workflows of Sensor {trigger.sensor.metadata.base_name} for events {events}."
