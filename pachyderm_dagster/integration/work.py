"""What the steps and sensors of a code location do: they open its workspace, in which the declared pipelines become as declared."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import dagster as dg

from pachyderm_dagster.coordination.leases import hold
from pachyderm_dagster.coordination.names import run_lease
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.choosing import open_executor, tend_workers
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.integration.applying import apply_declared
from pachyderm_dagster.integration.automation import Automation, Environ, job_name, schedule_name
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.building import Location
from pachyderm_dagster.integration.commit_sensor import CommitSensor
from pachyderm_dagster.integration.cron_schedules import run_schedule
from pachyderm_dagster.integration.dagster_inner import graph_of_run
from pachyderm_dagster.integration.declared import DeclaredPipeline
from pachyderm_dagster.integration.job_step import JobStep, StepEvents, tell_nobody
from pachyderm_dagster.integration.loaded_projects import find_project
from pachyderm_dagster.integration.record_snapshot import find_assets
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline
from pachyderm_dagster.integration.translator import PachydermTranslator, keys_elsewhere
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.workspace import Workspace, open_workspace

Execute: TypeAlias = Callable[[dg.AssetExecutionContext, JobStep, Workspace, Executor], StepEvents]
"""What a step does: `JobStep.run`, and what somebody adds to it."""


def run_step(location: Location, pipeline: LoadedPipeline, context: dg.AssetExecutionContext) -> StepEvents:
    """The step of a pipeline, whose asset may have another key by now than it was made with."""
    (key,) = {*context.selected_asset_keys, *(check.asset_key for check in context.selected_asset_check_keys)}
    assets = BranchAssets.loaded(graph_of_run(context), location.key_of)
    step = JobStep(pipeline, key, assets.key_of, location.on_job or tell_nobody)
    declared = [_declared(each) for each in location.snapshot.pipelines if each.declared]
    run_id = context.run.run_id

    def warn(line: str) -> None:
        context.log.warning(line)
        if location.on_warning is not None:
            location.on_warning(line)

    # In the run's name: steps of it in several processes hold it together, and what one gives back the others take again.
    with _opened(location.environ, declared, warn, context.log.info) as (workspace, executor), hold(workspace.leases, run_lease(run_id), run_id):
        yield from step.run(context, workspace, executor) if location.execute is None else location.execute(context, step, workspace, executor)


def tick_schedule(automation: Automation, name: RepoName, context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | list[dg.SkipReason]:
    """A tick of a cron pipeline's schedule."""
    with _sensor(automation, context) as (sensor, workspace, executor):
        return run_schedule(context, workspace, executor, sensor, name)


def tick(automation: Automation, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """A tick of a project's commit sensor."""
    with _sensor(automation, context) as (sensor, workspace, executor):
        return sensor.tick(context, workspace, executor)


@contextlib.contextmanager
def _sensor(automation: Automation, context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext) -> Iterator[tuple[CommitSensor, Workspace, Executor]]:
    """The sensor of a project as it is loaded, its workspace, and what runs its datums."""
    repository = context.repository_def
    if repository is None:
        raise InvalidError("asset-invalid", "the sensor was called without its code location; give the context a `repository_def`")
    translator = automation.translator or PachydermTranslator()

    def usual(branch: BranchName) -> dg.AssetKey:
        return translator.get_asset_spec(InputBranch(branch, "")).key

    loaded = find_project(automation.project, BranchAssets.loaded(repository.asset_graph, usual))
    schedules = {name: schedule_name(name) for name in loaded.pipelines if repository.has_schedule_def(schedule_name(name))}
    with _opened(automation.environ, loaded.declared, context.log.warning, context.log.debug) as (workspace, executor):
        with workspace.database.read() as txn:
            elsewhere = keys_elsewhere(find_assets(txn))
        assets = BranchAssets.loaded(repository.asset_graph, lambda branch: elsewhere[branch] if branch in elsewhere else usual(branch))
        sensor = CommitSensor(
            automation.project, loaded.pipelines, loaded.heads, assets, job_name(automation.project), loaded.by_set, schedules, automation.limits
        )
        yield sensor, workspace, executor
        tend_workers(workspace)


@contextlib.contextmanager
def _opened(
    environ: Environ, declared: Sequence[DeclaredPipeline], warn: Callable[[str], None], tell: Callable[[str], None]
) -> Iterator[tuple[Workspace, Executor]]:
    """The workspace, and what runs its datums, which has lines for people."""
    workspace = open_workspace(environ)
    try:
        apply_declared(workspace, declared)
        with open_executor(workspace, environ, warn=warn, tell=tell) as executor:
            yield workspace, executor
    finally:
        workspace.close()


def _declared(pipeline: LoadedPipeline) -> DeclaredPipeline:
    """What a project declared a pipeline with."""
    return DeclaredPipeline(UserSpec(pipeline.declared), pipeline.name.project, pipeline)
