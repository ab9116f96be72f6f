"""A job of a workflow file, for runs in other processes, and for those that are repeated."""

import dagster as dg

from pachyderm_dagster.integration import argo_job


def workflow_job(file: str) -> dg.JobDefinition:
    return argo_job(file)
