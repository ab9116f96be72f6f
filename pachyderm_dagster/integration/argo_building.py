"""All that workflow files hold as definitions: a job for each workflow, what starts those of CronWorkflows and Sensors, and jobs that answer."""

from collections.abc import Sequence

import dagster as dg

from pachyderm_dagster.integration.argo_jobs import answer_job, job_of
from pachyderm_dagster.integration.argo_loading import Files, Granularity, LoadedWorkflow, identifier_of, load_workflows
from pachyderm_dagster.integration.argo_schedules import schedules_of
from pachyderm_dagster.integration.argo_triggers import trigger_of
from pachyderm_dagster.integration.automation import Environ


def argo_definitions(
    files: Files,
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

    Arguments and errors as of `argo_job`.
    """
    return definitions_of(load_workflows(files, granularity=granularity), network=network, environ=environ, executor_def=executor_def)


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
