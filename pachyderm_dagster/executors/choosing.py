"""What runs datums here, by the settings."""

import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.workspace import Workspace

_log = logging.getLogger(__name__)


def open_executor(workspace: Workspace, environ: Mapping[str, str], *, warn: Callable[[str], None] = _log.warning) -> AbstractContextManager[Executor]:
    """What runs the datums of a workspace's jobs; at the end of the block nothing of it is left but workers that stay, where a pipeline has some.

    Args:
        environ: from which the workspace was opened; processes on this machine see it.
        warn: takes lines for people.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed.
    """
    settings = workspace.settings.kubernetes
    if settings is None:
        return LocalExecutor(environ, warn=warn)
    executor: AbstractContextManager[Executor] = _import("executor").KubernetesExecutor(workspace, settings, warn=warn)
    return executor


def tend_workers(workspace: Workspace) -> None:
    """Looks after workers that stay between jobs, of which none run on this machine: has them go that idle, or whose pipeline is gone. What fails is told."""
    settings = workspace.settings.kubernetes
    if settings is None:
        return
    try:
        tending = _import("tending")
    except InvalidError as error:
        # Whoever runs jobs has the client.
        _log.debug("%s", error)
    else:
        tending.tend_home(workspace, settings)


def _import(name: str) -> Any:
    try:
        # By name: the client is an extra, and takes long to import.
        return importlib.import_module(f"pachyderm_dagster.executors.kubernetes.{name}")
    except ModuleNotFoundError as error:
        problem = f"running datums in pods needs the package {error.name}, which is not installed"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
