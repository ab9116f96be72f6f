"""All that workflow files hold as definitions: a job for each workflow, what starts those of CronWorkflows and Sensors, and jobs that answer."""

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from pachyderm_dagster.argo.kept_objects import KeptObjects
from pachyderm_dagster.integration.argo_jobs import answer_job, job_of
from pachyderm_dagster.integration.argo_loading import Files, Granularity, LoadedWorkflow, identifier_of, load_kept, load_workflows
from pachyderm_dagster.integration.argo_schedules import schedules_of
from pachyderm_dagster.integration.argo_triggers import trigger_of
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.syncing.differences import object_name
from pachyderm_dagster.syncing.kept_syncs import KeptSyncs


def argo_definitions(
    files: Files | None = None,
    *,
    granularity: Granularity = "auto",
    network: bool = False,
    environ: Environ | None = None,
    executor_def: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """The jobs of all workflows of files or folders, schedules and sensors for their CronWorkflows and for the triggers of their Sensors, and for those that
    wait for somebody a job that answers them.

    ```python
    defs = argo_definitions("workflows")
    ```

    Without files they are those of what the home keeps (`pachctl argo cron create`, `argo template create`), but for what `git_sync` has brought there.

    Arguments and errors as of `argo_job`.
    """
    found = load_own(environ, granularity) if files is None else load_workflows(files, granularity=granularity)
    return definitions_of(found, network=network, environ=environ, executor_def=executor_def)


def load_own(environ: Environ | None, granularity: Granularity = "auto") -> list[LoadedWorkflow]:
    """What can be run of what the home keeps and no sync declares. Errors as `load_kept`."""
    home = Path(load_settings(os.environ if environ is None else environ).home)
    declared = {object_name(thing) for sync in KeptSyncs(home).list() for thing in sync.things}
    objects = KeptObjects(home)
    return load_kept(objects, {one.name for one in objects.list()} - declared, granularity=granularity)


def definitions_of(
    workflows: Sequence[LoadedWorkflow], *, network: bool = False, environ: Environ | None = None, executor_def: dg.ExecutorDefinition | None = None
) -> dg.Definitions:
    """The same of workflows that were loaded."""
    jobs: list[dg.JobDefinition] = []
    started: list[dg.ScheduleDefinition | dg.SensorDefinition] = []
    for workflow in workflows:
        answered_by = f"answer_{identifier_of(workflow.name)}"
        job = job_of(workflow, network=network, environ=environ, executor_def=executor_def, answered_by=answered_by)
        jobs.append(job)
        if workflow.waits:
            jobs.append(answer_job(environ, name=answered_by))
        if workflow.cron is not None:
            started += schedules_of(workflow, job)
        if workflow.trigger is not None:
            started.append(trigger_of(workflow, workflow.trigger, job, environ))
    return dg.Definitions(
        jobs=jobs,
        schedules=[one for one in started if isinstance(one, dg.ScheduleDefinition)],
        sensors=[one for one in started if isinstance(one, dg.SensorDefinition)],
    )
