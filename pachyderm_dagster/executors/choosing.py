"""What runs datums here, by the settings."""

import importlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.settings import KubernetesSettings, Settings
from pachyderm_dagster.workspace import Workspace

_log = logging.getLogger(__name__)


def open_executor(
    workspace: Workspace, environ: Mapping[str, str], *, warn: Callable[[str], None] = _log.warning, tell: Callable[[str], None] = _log.debug
) -> AbstractContextManager[Executor]:
    """What runs the datums of a workspace's jobs; at the end of the block nothing of it is left but workers that stay, where a pipeline has some.

    Args:
        environ: from which the workspace was opened; processes on this machine see it.
        warn: takes lines for people.
        tell: takes one now and then that says how many pods of a job work, where it has some.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed.
    """
    settings = workspace.settings.kubernetes
    if settings is None:
        return LocalExecutor(environ, warn=warn)
    executor: AbstractContextManager[Executor] = _import("executor").KubernetesExecutor(workspace, settings, warn=warn, tell=tell)
    return executor


class ServiceKeeper(Protocol):
    """Keeps services and spouts where no process of this machine does."""

    def step(self) -> None:
        """Brings them to what the record wants now, and returns. What fails is told, and tried again by a later step."""
        ...


def service_keeper(workspace: Workspace, *, names: Collection[RepoName] | None = None, tell: Callable[[str], None] = _log.info) -> ServiceKeeper | None:
    """Where jobs run in pods, what has services and spouts run there, those of some names or all; None where they are processes of this machine.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed.
    """
    settings = workspace.settings.kubernetes
    if settings is None:
        return None
    keeper: ServiceKeeper = _import("pod_keeper").PodKeeper(workspace, settings, names=names, tell=tell)
    return keeper


def tend_workers(workspace: Workspace, *, with_services: bool = True) -> None:
    """Looks after what stays between jobs in pods: workers that idle, or whose pipeline is gone, and services. What fails is told.

    Args:
        with_services: not where a `ServiceKeeper` of this process looks after them, which knows what it told and when it is to try again.
    """
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
        if with_services:
            _import("pod_keeper").PodKeeper(workspace, settings, tell=_log.warning).step()


def check_pods(settings: Settings, specs: Iterable[PipelineSpec], project: str, *, tell: Callable[[str], None]) -> None:
    """Whether the pods that pipelines ask for can be; nothing where datums run on this machine.

    Args:
        project: of pipelines that name none.
        tell: takes a line when the cluster cannot be asked, which keeps no pipeline from being made.

    Raises:
        InvalidError: `pod-patch-invalid`, `user-not-number`, `pod-refused`.
    """
    cluster_settings = settings.kubernetes
    if cluster_settings is None:
        return
    try:
        checking = _import("checking")
    except InvalidError as error:
        # Whoever runs jobs has the client.
        _log.debug("%s", error)
    else:
        checking.check_pods(cluster_settings, list(specs), project, tell)


def list_workers(settings: KubernetesSettings, home: str, pipeline: RepoName, *, staying: bool, kept: bool) -> Any:
    """The workers of a pipeline in pods, as `shown_workers.list_workers`, whose errors it has.

    Raises:
        InvalidError: `extra-missing`, when the client of Kubernetes is not installed.
    """
    return _import("shown_workers").list_workers(settings, home, pipeline, staying=staying, kept=kept)


def _import(name: str) -> Any:
    try:
        # By name: the client is an extra, and takes long to import.
        return importlib.import_module(f"pachyderm_dagster.executors.kubernetes.{name}")
    except ModuleNotFoundError as error:
        problem = f"running datums in pods needs the package {error.name}, which is not installed"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[kubernetes]'") from error
