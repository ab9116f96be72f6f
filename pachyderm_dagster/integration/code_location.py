"""The code location that `pachyderm-dagster dev` serves: the workspace that the environment names, and nothing else."""

import os

import dagster as dg

from pachyderm_dagster.integration.building import build_definitions
from pachyderm_dagster.log_lines import set_up
from pachyderm_dagster.settings import load_settings


@dg.definitions
def definitions() -> dg.Definitions:
    """The workspace as it is when the code location is loaded; what a click materializes runs in one process too, as the pipelines' job does."""
    set_up(load_settings(os.environ).log_format)
    return dg.Definitions.merge(build_definitions(os.environ), dg.Definitions(executor=dg.in_process_executor))
