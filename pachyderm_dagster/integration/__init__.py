"""The Dagster side: assets, sensors, resources."""

from pachyderm_dagster.integration.assets import commit_automation, pachyderm_assets, pipeline_asset, repo_asset
from pachyderm_dagster.integration.building import build_definitions
from pachyderm_dagster.integration.components import PachydermPipelines, PachydermWorkspace
from pachyderm_dagster.integration.io_manager import PachydermIOManager
from pachyderm_dagster.integration.resource import PachydermResource
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline
from pachyderm_dagster.integration.translator import PachydermTranslator

__all__ = [
    "InputBranch",
    "LoadedPipeline",
    "PachydermIOManager",
    "PachydermPipelines",
    "PachydermResource",
    "PachydermTranslator",
    "PachydermWorkspace",
    "build_definitions",
    "commit_automation",
    "pachyderm_assets",
    "pipeline_asset",
    "repo_asset",
]
