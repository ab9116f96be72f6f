"""The Dagster side: assets, sensors, resources."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from pachyderm_dagster import __version__

if TYPE_CHECKING:
    from pachyderm_dagster.integration.argo_building import argo_definitions
    from pachyderm_dagster.integration.argo_components import ArgoWorkflows
    from pachyderm_dagster.integration.argo_jobs import answer_job, argo_job
    from pachyderm_dagster.integration.assets import commit_automation, pachyderm_assets, pipeline_asset, repo_asset
    from pachyderm_dagster.integration.building import build_definitions
    from pachyderm_dagster.integration.components import PachydermPipelines, PachydermWorkspace
    from pachyderm_dagster.integration.datum_assets import datum_asset, pfs
    from pachyderm_dagster.integration.git_syncs import GitSync, git_sync
    from pachyderm_dagster.integration.io_manager import PachydermIOManager
    from pachyderm_dagster.integration.kubeflow_runs import kubeflow_run
    from pachyderm_dagster.integration.launch_config import PipelineConfig
    from pachyderm_dagster.integration.resource import PachydermResource
    from pachyderm_dagster.integration.sensor_limits import SensorLimits
    from pachyderm_dagster.integration.served_models import ServedModel, served_model
    from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline
    from pachyderm_dagster.integration.translator import PachydermTranslator
    from pachyderm_dagster.worker.function_datum import Datum

__all__ = [
    "ArgoWorkflows",
    "Datum",
    "GitSync",
    "InputBranch",
    "LoadedPipeline",
    "PachydermIOManager",
    "PachydermPipelines",
    "PachydermResource",
    "PachydermTranslator",
    "PachydermWorkspace",
    "PipelineConfig",
    "SensorLimits",
    "ServedModel",
    "answer_job",
    "argo_definitions",
    "argo_job",
    "build_definitions",
    "commit_automation",
    "datum_asset",
    "git_sync",
    "kubeflow_run",
    "pachyderm_assets",
    "pfs",
    "pipeline_asset",
    "repo_asset",
    "served_model",
]
# The module of each name. It is imported when the name is asked for: a code location pays for what it uses.
_MODULES = {
    "ArgoWorkflows": "argo_components",
    "Datum": "datum_parameters",
    "GitSync": "git_syncs",
    "InputBranch": "snapshot",
    "LoadedPipeline": "snapshot",
    "PachydermIOManager": "io_manager",
    "PachydermPipelines": "components",
    "PachydermResource": "resource",
    "PachydermTranslator": "translator",
    "PachydermWorkspace": "components",
    "PipelineConfig": "launch_config",
    "SensorLimits": "sensor_limits",
    "ServedModel": "served_models",
    "answer_job": "argo_jobs",
    "argo_definitions": "argo_building",
    "argo_job": "argo_jobs",
    "build_definitions": "building",
    "commit_automation": "assets",
    "datum_asset": "datum_assets",
    "git_sync": "git_syncs",
    "kubeflow_run": "kubeflow_runs",
    "pfs": "datum_assets",
    "pachyderm_assets": "assets",
    "pipeline_asset": "assets",
    "repo_asset": "assets",
    "served_model": "served_models",
}


def __getattr__(name: str) -> Any:
    """A public name, imported now."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    # By this Dagster tells which libraries a code location has, in which versions. Who has not imported it is none, and need not do so for this.
    if "dagster" in sys.modules:
        sys.modules["dagster"].DagsterLibraryRegistry.register("pachyderm-dagster", __version__, is_dagster_package=False)
    return found


def __dir__() -> list[str]:
    """All public names, imported or not: `dg` looks here for components."""
    return sorted({*globals(), *__all__})
