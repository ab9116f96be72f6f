"""The code location that `pachyderm-dagster dev` serves: the workspace that the environment names, and nothing else."""

import os

import dagster as dg

from pachyderm_dagster.integration.building import build_definitions


@dg.definitions
def definitions() -> dg.Definitions:
    """The workspace as it is when the code location is loaded; what a click materializes runs in one process too, as the pipelines' job does."""
    return dg.Definitions.merge(build_definitions(os.environ), dg.Definitions(executor=dg.in_process_executor))
