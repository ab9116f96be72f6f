"""The Dagster side: assets, sensors, resources."""

from pachyderm_dagster.integration.building import build_definitions
from pachyderm_dagster.integration.resource import PachydermResource
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline
from pachyderm_dagster.integration.translator import PachydermTranslator

__all__ = ["InputBranch", "LoadedPipeline", "PachydermResource", "PachydermTranslator", "build_definitions"]
