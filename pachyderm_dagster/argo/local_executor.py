"""Runs pods as processes of this machine, each in a root of its own (`pod_host`)."""

import asyncio
import contextlib
import functools
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from pachyderm_dagster.argo.file_artifacts import FileArtifacts
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.images import PodImages, make_programs
from pachyderm_dagster.argo.label_selectors import selects
from pachyderm_dagster.argo.local_pod import LocalPod, PodFolder
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs
from pachyderm_dagster.argo.outputs import MAIN, log_artifact, outputs_of, pod_end, result_of
from pachyderm_dagster.argo.parameters import Artifact, Parameter
from pachyderm_dagster.argo.pod_gc import let_stay, remove_files, removes_at_pods_end
from pachyderm_dagster.argo.pod_paths import PodPaths
from pachyderm_dagster.argo.pod_volumes import Claims
from pachyderm_dagster.argo.pods import ContainerEnd, Pod, PodEnd
from pachyderm_dagster.argo.workflows import PodGc
from pachyderm_dagster.errors import ExecutionError


class LocalExecutor:
    """Runs pods of one workflow.

    Args:
        folder: of the run; pods, artifacts and claims are in it.
        claims: where volumes that outlive a workflow are, by the names of their claims.
        workflow: its name, which keys of artifacts begin with.
        network: whether pods may reach anything but this machine's own address, which they share.
        pod_gc: when what pods left is removed.
        objects: those of the home, which its pods' `kubectl` is for; None where it is the machine's own.
    """

    keeps_deadlines = False

    def __init__(self, folder: Path, claims: Path, workflow: str, *, network: bool, pod_gc: PodGc, objects: Path | None = None) -> None:
        self._folder, self._workflow, self._network, self._pod_gc = folder, workflow, network, pod_gc
        self._claims = Claims(folder / "claims", claims)
        # Without a network it changes nothing.
        self._images = PodImages(folder / "images", objects is not None, objects if network else None)
        self._artifacts = FileArtifacts(folder, network=network)
        self._host: HostClient | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["LocalExecutor"]:
        """The executor for a block, at the end of which nothing that it started is left.

        Raises:
            ExecutionError: `pods-unavailable`.
        """
        make_programs(self._images.folder)
        if self._images.objects is not None:
            self._images.objects.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with opened_host(self._folder / "host", network=self._network) as self._host:
            yield self

    async def run(self, pod: Pod) -> PodEnd:
        """As `Executor.run`."""
        assert self._host is not None
        folder = PodFolder(self._folder / "pods" / pod.name)
        if folder.path.exists():
            # Of an attempt that was interrupted.
            await asyncio.to_thread(shutil.rmtree, folder.path)
        folder.path.mkdir(parents=True)
        local = LocalPod(pod, folder, self._host, self._images, self._claims)
        await self._load_artifacts(pod, local)
        ends = await local.run()
        end = await self._ended(pod, folder, local, ends)
        if not selects(self._pod_gc.label_selector, pod.labels):
            let_stay(folder.path)
        elif removes_at_pods_end(self._pod_gc, end.phase, pod.labels):
            await asyncio.to_thread(remove_files, folder.path)
        return end

    async def _load_artifacts(self, pod: Pod, local: LocalPod) -> None:
        if not pod.template.inputs.artifacts:
            return
        template = pod.template
        mirroring = [one for one in (*template.init_containers, *template.sidecars) if one.mirror_volume_mounts]
        for paths in [local.paths(container) for container in (*template.containers, *mirroring)]:
            for artifact in pod.template.inputs.artifacts:
                kept = pod.artifacts.get(artifact.name)
                if kept is None or (artifact.optional and not self._artifacts.has(kept)):
                    continue
                if not paths.can_be_written(artifact.path):
                    message = (
                        f"the artifact {artifact.name!r} is to be at {artifact.path}, which is the machine's own and cannot be written; choose another path"
                    )
                    raise ExecutionError("path-read-only", message)
                await asyncio.to_thread(self._artifacts.get, kept, artifact, paths.find(artifact.path), pod.secrets)

    async def _ended(self, pod: Pod, folder: PodFolder, local: LocalPod, ends: Mapping[str, ContainerEnd]) -> PodEnd:
        logs = await asyncio.to_thread(log_artifact, self._artifacts.store, pod, folder.log, self._workflow) if pod.archives_log else {}
        wanted = pod.template.outputs
        if not (wanted.parameters or wanted.artifacts or pod.keeps_result):
            return pod_end(pod, ends, logs, lambda bare: bare)
        return await asyncio.to_thread(pod_end, pod, ends, logs, functools.partial(self._outputs, pod, folder, local))

    def _outputs(self, pod: Pod, folder: PodFolder, local: LocalPod, bare: NodeOutputs) -> NodeOutputs:
        container = next((one for one in pod.template.containers if pod.template.container_set is None or one.name == MAIN), None)
        if container is None:
            return bare
        paths = local.paths(container)

        def keep(artifact: Artifact) -> KeptArtifact | None:
            place = paths.find(artifact.path)
            if not os.path.lexists(place):
                return None
            return self._artifacts.put(place, artifact, f"{self._workflow}/{pod.name}/{artifact.name}", pod.secrets)

        return outputs_of(pod, bare, keep=keep, written=functools.partial(_written, paths), result=lambda: _result(folder.result))


def _written(paths: PodPaths, one: Parameter) -> str | None:
    assert one.value_from is not None
    try:
        with open(paths.find(one.value_from.path), encoding="utf-8", errors="replace") as file:
            return file.read().removesuffix("\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _result(path: Path) -> str:
    with open(path, "rb") as file:
        return result_of(file)
