"""The code location that `pachyderm-dagster dev` serves: the workspace that the environment names, and nothing else."""

import os

import dagster as dg

from pachyderm_dagster.integration.building import build_definitions


@dg.definitions
def definitions() -> dg.Definitions:
    """The workspace as it is when the code location is loaded."""
    return build_definitions(os.environ)
