"""Runs the pods of one workflow on a cluster."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.cluster.area import PodArea, RunArea
from pachyderm_dagster.argo.cluster.artifacts import RunArtifacts
from pachyderm_dagster.argo.cluster.ends import DELETED
from pachyderm_dagster.argo.cluster.manifests import Making, needs_order, pod_manifest
from pachyderm_dagster.argo.cluster.pod_watch import PodWatch
from pachyderm_dagster.argo.cluster.running_pod import RunningPod, RunPods
from pachyderm_dagster.argo.local_pod import PodFolder
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.outputs import log_artifact, pod_end
from pachyderm_dagster.argo.pod_gc import removes_at_pods_end
from pachyderm_dagster.argo.pods import ContainerEnd, Pod, PodEnd
from pachyderm_dagster.argo.tries import Tries
from pachyderm_dagster.argo.waits import all_cancelled
from pachyderm_dagster.argo.workflows import PodGc
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.patches import Manifest

T = TypeVar("T")
_THREADS = 16
_LAST_SECONDS = 5.0
"""How long pods are waited for that are to go, when the executor closes; the end of the run takes them too."""
_LOG_SECONDS = 60.0
"""How long the node of a pod is asked for what that printed: it may be gone."""
_log = logging.getLogger(__name__)


class ClusterExecutor:
    """Runs pods of one run, for the length of `opened`.

    Args:
        folder: of the run.
        pod_gc: when pods are removed.
    """

    keeps_deadlines = True

    def __init__(self, folder: Path, workflow: str, cluster: Cluster, making: Making, area: RunArea, *, pod_gc: PodGc) -> None:
        self._folder, self._cluster, self._making, self._area, self._pod_gc = folder, cluster, making, area, pod_gc
        self._artifacts = RunArtifacts(folder, workflow, area)
        self._logs = ArtifactFolder(folder / "artifacts")
        self._workflow = workflow
        self._tries = Tries(folder / "tries")
        self._threads = ThreadPoolExecutor(_THREADS, "workflow-pods")
        self._pods: RunPods | None = None
        self._going: set[asyncio.Future[None]] = set()
        self._is_told = False

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["ClusterExecutor"]:
        """The executor for a block."""
        try:
            async with PodWatch(self._cluster, self._making.names.selector).opened() as watch:
                self._pods = RunPods(self._cluster, watch, self._making.names, self._call)
                yield self
                if self._going:
                    await asyncio.wait(self._going, timeout=_LAST_SECONDS)
        finally:
            await all_cancelled(self._going)
            self._threads.shutdown(wait=False)

    async def run(self, pod: Pod) -> PodEnd:
        """As `Executor.run`. A pod that an earlier process began is gone on with."""
        assert self._pods is not None
        number = self._tries.number(pod.name)
        area = self._area.pod(pod.name, number)
        running = RunningPod(pod, number, area, functools.partial(self._make, pod, number, area), self._pods)
        begun = asyncio.ensure_future(running.begin())
        try:
            # Whoever is cancelled while a pod is being made removes it when it is there.
            await asyncio.shield(begun)
            ends = await running.ends()
            return PodEnd(Phase.ERROR, DELETED) if ends is None else await self._ended(running, ends)
        except asyncio.CancelledError:
            running.give_up()
            await asyncio.wait((begun,))
            await asyncio.shield(asyncio.ensure_future(running.removed()))
            raise

    def _make(self, pod: Pod, number: int, area: PodArea) -> Manifest:
        order = self._artifacts.order(pod)
        manifest = pod_manifest(pod, number, order, area.folder, self._making)
        if needs_order(pod, order):
            area.write_order(order)
        return manifest

    async def _ended(self, running: RunningPod, ends: dict[str, ContainerEnd]) -> PodEnd:
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                await running.asked(functools.partial(self._keep_logs, running))
        except TimeoutError:
            _log.warning("what the pod %s printed is not kept: the cluster gave no answer for %.0f s", running.pod.name, _LOG_SECONDS)
        end = await running.asked(functools.partial(self._end_of, running, ends))
        assert end is not None
        # What runs beside the main containers runs for as long as the pod is there. The pod says how it ended until that is kept.
        if running.pod.template.sidecars or running.runs_on or removes_at_pods_end(self._pod_gc, end.phase, running.pod.labels):
            return replace(end, on_kept=functools.partial(self._remove, running))
        return end

    def _end_of(self, running: RunningPod, ends: dict[str, ContainerEnd]) -> PodEnd:
        pod = running.pod
        outputs = functools.partial(self._artifacts.outputs, pod, running.area, running.find_answer())
        return pod_end(pod, ends, log_artifact(self._logs, pod, PodFolder(self._folder / "pods" / pod.name).log, self._workflow), outputs)

    def _keep_logs(self, running: RunningPod) -> None:
        try:
            running.keep_logs(self._folder / "pods" / running.pod.name)
        except ExecutionError as error:
            if not self._is_told:
                self._is_told = True
                _log.warning("what the pods of workflow %s print is not kept: %s", self._workflow, error)

    def _remove(self, running: RunningPod) -> None:
        task = asyncio.ensure_future(running.removed())
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
