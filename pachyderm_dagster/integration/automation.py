"""What runs the pipelines of a project: a job, a commit sensor and the schedules of cron inputs.

Job and sensor are one for each project of a code location, whoever makes its pipelines: the sensor is one object for all makers, which Dagster then takes
once, and it finds the pipelines among the assets that are loaded.
"""

import functools
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.dagster_inner import SharedSensor
from pachyderm_dagster.integration.sensor_limits import USUAL, SensorLimits
from pachyderm_dagster.integration.snapshot import LoadedPipeline
from pachyderm_dagster.integration.translator import PachydermTranslator, lasting_identifier
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.schedules import crontab_of

Environ: TypeAlias = Mapping[str, str]
_OURS = "PACHYDERM_"
_PROJECTS = 1000
"""Sensors that are kept in mind: more than a code location has projects."""


def job_name(project: str) -> str:
    """The job that runs the pipelines of a project."""
    return lasting_identifier("pipelines", project)


def sensor_name(project: str) -> str:
    """The commit sensor of a project."""
    return lasting_identifier("commits", project)


def schedule_name(pipeline: RepoName) -> str:
    """The schedule of a pipeline with cron inputs."""
    return lasting_identifier("ticks", str(pipeline))


@dataclass(frozen=True, slots=True)
class Automation:
    """What sensors and schedules of a project need to know, beside the assets that are loaded.

    Args:
        differences: what is otherwise in the environment that names the workspace than in that of the process; None is not there.
        translator: names the branches that are not loaded; None for the usual one.
        limits: how much the sensor takes at once.
    """

    project: str
    differences: tuple[tuple[str, str | None], ...] = ()
    translator: PachydermTranslator | None = None
    limits: SensorLimits = USUAL

    @property
    def environ(self) -> dict[str, str]:
        """The environment that names the workspace."""
        changed = {**os.environ, **dict(self.differences)}
        return {name: value for name, value in changed.items() if value is not None}


def automate(
    projects: Sequence[str],
    pipelines: Sequence[LoadedPipeline],
    environ: Environ,
    translator: PachydermTranslator | None,
    limits: SensorLimits | None = None,
) -> dg.Definitions:
    """The job and the sensor of each project, and the schedules of these pipelines.

    Args:
        translator, limits: as for `Automation`.
    """
    using = None if type(translator) is PachydermTranslator else translator
    found = {project: Automation(project, _differences(environ), using, limits or USUAL) for project in projects}
    return dg.Definitions(
        sensors=[_sensor(automation) for automation in found.values()],
        schedules=[_schedule(found[pipeline.name.project], pipeline) for pipeline in pipelines if _crontabs_of(pipeline)],
    )


def _differences(environ: Environ) -> tuple[tuple[str, str | None], ...]:
    """Two that name one workspace have the same, whatever modules that are loaded meanwhile do to the process's environment."""
    names = environ.keys() | {name for name in os.environ if name.startswith(_OURS)}
    return tuple((name, environ.get(name)) for name in sorted(names) if environ.get(name) != os.environ.get(name))


# Definitions that are merged may hold one object twice, but no two of one name.
@functools.lru_cache(_PROJECTS)
def _sensor(automation: Automation) -> dg.SensorDefinition:
    """The commit sensor of a project, running unless a user stops it, with the project's job."""
    project = automation.project

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        found: dg.SensorResult | dg.SkipReason = _work().tick(automation, context)
        return found

    job = dg.define_asset_job(
        job_name(project),
        dg.AssetSelection.tag(labels.PROJECT, project),
        description=f"Runs pipelines of project {project}: those of the commit set that the commit sensor asks for, or again on the current heads.",
        # The process of a run does the run's jobs itself: the work is in the workers, and a process a step would only cost a start each.
        executor_def=dg.in_process_executor,
    )
    return SharedSensor(
        name=sensor_name(project),
        evaluation_fn=tick,
        jobs=[job],
        # 0 would mean 30 s. The daemon looks every five seconds, whatever stands here.
        minimum_interval_seconds=1,
        tags=automation.limits.tags or None,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells Dagster of finished commits in project {project} and runs every commit set once its inputs are finished.",
    )


def _schedule(automation: Automation, pipeline: LoadedPipeline) -> dg.ScheduleDefinition:
    """The schedule of a pipeline with cron inputs, running unless a user stops it."""

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from _work().tick_schedule(automation, pipeline.name, context)

    return dg.ScheduleDefinition(
        name=schedule_name(pipeline.name),
        cron_schedule=_crontabs_of(pipeline),
        execution_timezone="UTC",
        execution_fn=tick,
        # By its name: the job comes with the sensor, which may be another maker's.
        job_name=job_name(pipeline.name.project),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Ticks the cron inputs of pipeline {pipeline.name}, and runs it on the tick.",
    )


def _crontabs_of(pipeline: LoadedPipeline) -> list[str]:
    """When its cron inputs tick, as far as cron can say that."""
    specs = (crontab_of(leaf.spec) for leaf in leaves(pipeline.spec.input) if isinstance(leaf, CronInput))
    return list(dict.fromkeys(spec for spec in specs if spec is not None))


def _work() -> Any:
    """What steps and sensors do (`integration.work`), imported with the first that does something: it takes longer than a whole code location should."""
    return importlib.import_module("pachyderm_dagster.integration.work")
