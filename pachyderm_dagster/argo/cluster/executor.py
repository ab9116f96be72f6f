"""Runs the pods of one workflow on a cluster."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.cluster.area import RunArea
from pachyderm_dagster.argo.cluster.artifacts import RunArtifacts
from pachyderm_dagster.argo.cluster.ends import DELETED
from pachyderm_dagster.argo.cluster.manifests import Making, gives, pod_manifest
from pachyderm_dagster.argo.cluster.pod_watch import PodWatch
from pachyderm_dagster.argo.cluster.running_pod import Places, RunningPod
from pachyderm_dagster.argo.local_pod import PodFolder
from pachyderm_dagster.argo.nodes import KeptArtifact, Phase
from pachyderm_dagster.argo.outputs import pod_end
from pachyderm_dagster.argo.parameters import Archive, Artifact
from pachyderm_dagster.argo.pod_gc import removes_at_pods_end
from pachyderm_dagster.argo.pods import LOGS, ContainerEnd, Pod, PodEnd
from pachyderm_dagster.argo.tries import Tries
from pachyderm_dagster.executors.kubernetes.cluster import Cluster

T = TypeVar("T")
_THREADS = 16


class ClusterExecutor:
    """Runs pods of one run, for the length of `opened`.

    Args:
        folder: of the run.
        pod_gc: when pods are removed, as `podGC.strategy` has it.
    """

    def __init__(self, folder: Path, workflow: str, cluster: Cluster, making: Making, area: RunArea, *, pod_gc: str) -> None:
        self._folder, self._cluster, self._making, self._area, self._pod_gc = folder, cluster, making, area, pod_gc
        self._artifacts = RunArtifacts(folder, workflow, area)
        self._logs = ArtifactFolder(folder / "artifacts")
        self._workflow = workflow
        self._tries = Tries(folder / "tries")
        self._threads = ThreadPoolExecutor(_THREADS, "workflow-pods")
        self._watch: PodWatch | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["ClusterExecutor"]:
        """The executor for a block."""
        try:
            async with PodWatch(self._cluster, self._making.names.selector).opened() as self._watch:
                yield self
        finally:
            self._threads.shutdown(wait=False)

    async def run(self, pod: Pod) -> PodEnd:
        """As `Executor.run`. A pod that an earlier process began is gone on with."""
        assert self._watch is not None
        number = self._tries.number(pod.name)
        area = self._area.pod(pod.name, number)
        order = await self._call(self._artifacts.order, pod)
        manifest = pod_manifest(pod, number, order, area.folder, self._making)
        running = RunningPod(pod, order, area, manifest, Places(self._cluster, self._watch, self._making.names, self._call))
        begun = asyncio.ensure_future(running.begin())
        try:
            # Whoever is cancelled while a pod is being made removes it when it is there.
            await asyncio.shield(begun)
            ends = await running.ends()
        except BaseException:
            running.give_up()
            await asyncio.wait((begun,))
            await asyncio.shield(asyncio.ensure_future(running.removed()))
            raise
        if ends is None:
            return PodEnd(Phase.ERROR, DELETED)
        return await self._ended(running, ends)

    async def _ended(self, running: RunningPod, ends: dict[str, ContainerEnd]) -> PodEnd:
        pod = running.pod
        await self._call(running.keep_logs, self._folder / "pods" / pod.name)
        answer = await self._call(running.area.find_answer) if gives(running.order) else None
        logs = await self._call(self._kept_log, pod)
        end = await self._call(pod_end, pod, ends, logs, functools.partial(self._artifacts.outputs, pod, running.area, answer))
        # What runs beside the main containers runs for as long as the pod is there.
        if pod.template.sidecars or removes_at_pods_end(self._pod_gc, end.phase):
            await self._call(running.delete)
        return end

    def _kept_log(self, pod: Pod) -> dict[str, KeptArtifact]:
        log = PodFolder(self._folder / "pods" / pod.name).log
        if not pod.archives_log or not log.exists():
            return {}
        return {LOGS: self._logs.put(str(log), Artifact(name=LOGS, archive=Archive(none={})), f"{self._workflow}/{pod.name}/main.log")}

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
