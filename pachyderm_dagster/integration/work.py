"""What the steps and sensors of a code location do: they open its workspace, in which the declared pipelines become as declared."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import dagster as dg

from pachyderm_dagster.executors.choosing import open_executor
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.integration.applying import apply_declared
from pachyderm_dagster.integration.building import Location, crontabs_of, job_name, schedule_name
from pachyderm_dagster.integration.commit_sensor import CommitSensor
from pachyderm_dagster.integration.cron_schedules import run_schedule
from pachyderm_dagster.integration.declared import DeclaredPipeline
from pachyderm_dagster.integration.job_step import JobStep, StepEvents, tell_nobody
from pachyderm_dagster.integration.snapshot import LoadedPipeline
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.workspace import Workspace, open_workspace

Execute: TypeAlias = Callable[[dg.AssetExecutionContext, JobStep, Workspace, Executor], StepEvents]
"""What a step does: `JobStep.run`, and what somebody adds to it."""


def run_step(location: Location, pipeline: LoadedPipeline, spec: dg.AssetSpec, context: dg.AssetExecutionContext) -> StepEvents:
    """The step of a pipeline, whose asset is `spec`."""
    step = JobStep(pipeline, spec.key, location.key_of, location.on_job or tell_nobody)
    with _opened(location, context.log.warning) as (workspace, executor):
        yield from step.run(context, workspace, executor) if location.execute is None else location.execute(context, step, workspace, executor)


def tick_schedule(location: Location, name: RepoName, context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | list[dg.SkipReason]:
    """A tick of a cron pipeline's schedule."""
    with _opened(location, context.log.warning) as (workspace, executor):
        return run_schedule(context, workspace, executor, _sensor(location, name.project), name)


def tick(location: Location, project: str, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """A tick of a project's commit sensor."""
    sensor = _sensor(location, project)
    with _opened(location, context.log.warning) as (workspace, executor):
        return sensor.tick(context, workspace, executor)


def _sensor(location: Location, project: str) -> CommitSensor:
    found = [pipeline for pipeline in location.snapshot.pipelines if pipeline.name.project == project]
    return CommitSensor(
        project=project,
        pipelines={pipeline.name: location.keys[pipeline.output] for pipeline in found},
        heads={branch.name: location.keys[branch.name] for branch in location.snapshot.branches if branch.name.repo.project == project},
        key_of=location.key_of,
        job_name=job_name(project),
        is_by_set=location.partition_by is not None,
        schedules={name: schedule_name(name) for pipeline in found if crontabs_of(pipeline) for name in [pipeline.name]},
    )


@contextlib.contextmanager
def _opened(location: Location, warn: Callable[[str], None]) -> Iterator[tuple[Workspace, Executor]]:
    """The workspace, and what runs its datums."""
    workspace = open_workspace(location.environ)
    try:
        apply_declared(workspace, [_declared(pipeline) for pipeline in location.snapshot.pipelines if pipeline.declared])
        with open_executor(workspace, location.environ, warn=warn) as executor:
            yield workspace, executor
    finally:
        workspace.close()


def _declared(pipeline: LoadedPipeline) -> DeclaredPipeline:
    """What a project declared a pipeline with."""
    return DeclaredPipeline(UserSpec(pipeline.declared), pipeline.name.project, pipeline)
