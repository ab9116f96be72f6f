"""Runs pods as processes of this machine, each in a root of its own (`pod_host`)."""

import asyncio
import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from pachyderm_dagster.argo import pod_host
from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.images import FOLDER, make_programs, program_of, search_path
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.argo.pod_host import Answer, Order
from pachyderm_dagster.argo.pod_paths import Mount, PodPaths
from pachyderm_dagster.argo.pod_settings import environment_of, mounts_of
from pachyderm_dagster.argo.pods import Pod, PodEnd
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.errors import ExecutionError, PachydermError

SCRIPT = "/argo/staging/script"
MOST_RESULT_BYTES = 256 * 1024
_OWN_FAILURE = 64
_MOST_LINE = 1 << 22
_SYSTEM_MOUNTS = tuple(Mount(f"/{name}", f"/{name}", writable=False) for name in pod_host.SYSTEM)


class PodFolder:
    """What is kept of a pod: its root, its volumes, what it printed."""

    def __init__(self, folder: Path) -> None:
        self.root, self.volumes, self.log, self.result = folder / "root", folder / "volumes", folder / "log", folder / "stdout"


class LocalExecutor:
    """Runs pods of one workflow.

    Args:
        folder: of the run; pods, artifacts and claims are in it.
        claims: where volumes that outlive a workflow are, by the names of their claims.
        workflow: its name, which keys of artifacts begin with.
        network: whether pods may reach anything but this machine's own address, which they share.
    """

    def __init__(self, folder: Path, claims: Path, workflow: str, *, network: bool) -> None:
        self._folder, self._claims, self._workflow, self._network = folder, claims, workflow, network
        self._artifacts = ArtifactFolder(folder / "artifacts")
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._host: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["LocalExecutor"]:
        """The executor for a block, at the end of which nothing that it started is left.

        Raises:
            ExecutionError: `pods-unavailable`.
        """
        images = self._folder / "images"
        make_programs(images)
        scratch = self._folder / "host"
        scratch.mkdir(parents=True, exist_ok=True)
        self._host = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", pod_host.__name__, str(scratch), "network" if self._network else "no-network"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MOST_LINE,
        )
        reading = asyncio.ensure_future(self._read_answers())
        try:
            ready = await self._answer(-1)
            if ready.problem:
                raise ExecutionError("pods-unavailable", f"pods cannot run on this machine: {ready.problem}")
            yield self
        finally:
            assert self._host.stdin is not None
            self._host.stdin.close()
            await self._host.wait()
            await reading

    async def run(self, pod: Pod) -> PodEnd:
        """As `Executor.run`."""
        place = self._folder / "pods" / pod.name
        if place.exists():
            # Of an attempt that was interrupted.
            await asyncio.to_thread(shutil.rmtree, place)
        folder = PodFolder(place)
        mounts = mounts_of(pod, folder.volumes, self._folder / "claims", self._claims)
        paths = PodPaths(str(folder.root), (*_SYSTEM_MOUNTS, *mounts))
        order = self._prepare(pod, folder, mounts)
        await self._load_artifacts(pod, paths)
        answer = await self._started(order)
        if answer.problem:
            return PodEnd(Phase.ERROR, answer.problem)
        return await self._ended(pod, folder, paths, answer.code)

    async def _load_artifacts(self, pod: Pod, paths: PodPaths) -> None:
        for artifact in pod.template.inputs.artifacts:
            kept = pod.artifacts.get(artifact.name)
            if kept is None or (artifact.optional and not self._artifacts.has(kept)):
                continue
            if not paths.can_be_written(artifact.path):
                message = f"the artifact {artifact.name!r} is to be at {artifact.path}, which is the machine's own and cannot be written; choose another path"
                raise ExecutionError("path-read-only", message)
            await asyncio.to_thread(self._artifacts.get, kept, artifact, paths.find(artifact.path))

    def _prepare(self, pod: Pod, folder: PodFolder, mounts: tuple[Mount, ...]) -> Order:
        container = pod.template.container or pod.template.script
        assert container is not None
        argv = program_of(container.image, container.command, container.args)
        folder.root.mkdir(parents=True, exist_ok=True)
        if pod.template.script is not None and pod.template.script.source:
            script = folder.root / SCRIPT.lstrip("/")
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(pod.template.script.source)
            script.chmod(0o755)
            argv = (*argv, SCRIPT)
        folders = [(mount.folder, mount.path, mount.writable) for mount in mounts]
        return Order(
            id=next(self._ids),
            root=str(folder.root),
            argv=argv,
            environment={"PATH": search_path(container.image), "HOME": "/root", "HOSTNAME": pod.name, **environment_of(pod, container)},
            working_dir=container.working_dir or "/",
            folders=(*folders, (str(self._folder / "images"), FOLDER, False)),
            log=str(folder.log),
            result=str(folder.result) if pod.keeps_result else "",
        )

    async def _started(self, order: Order) -> Answer:
        waiting = asyncio.ensure_future(self._answer(order.id))
        await self._send(order)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await self._send(Order(order.id))
            await waiting
            raise

    async def _ended(self, pod: Pod, folder: PodFolder, paths: PodPaths, code: int) -> PodEnd:
        try:
            outputs = await self._outputs(pod, folder, paths, code)
        except PachydermError as error:
            if code:
                return PodEnd(Phase.FAILED, f"Error (exit code {code})", NodeOutputs(exit_code=str(code)))
            return PodEnd(Phase.ERROR, error.message, NodeOutputs(exit_code=str(code)))
        if code == _OWN_FAILURE:
            return PodEnd(Phase.ERROR, f"Error (exit code {code})", outputs)
        return PodEnd(Phase.FAILED, f"Error (exit code {code})", outputs) if code else PodEnd(Phase.SUCCEEDED, "", outputs)

    async def _outputs(self, pod: Pod, folder: PodFolder, paths: PodPaths, code: int) -> NodeOutputs:
        declared = pod.template.outputs
        artifacts: dict[str, KeptArtifact] = {}
        for artifact in declared.artifacts:
            place = paths.find(artifact.path)
            if os.path.lexists(place):
                key = f"{self._workflow}/{pod.name}/{artifact.name}"
                artifacts[artifact.name] = await asyncio.to_thread(self._artifacts.put, place, artifact, key)
            elif not artifact.optional:
                message = f"the output artifact {artifact.name!r} is not there: nothing was written to {artifact.path}; write it, or make it optional"
                raise ExecutionError("output-not-written", message)
        return NodeOutputs(
            parameters=_parameters(pod.template, paths),
            artifacts=artifacts,
            result=_result(folder.result) if pod.keeps_result else None,
            exit_code=str(code),
        )

    async def _send(self, order: Order) -> None:
        assert self._host is not None and self._host.stdin is not None
        self._host.stdin.write(msgspec.json.encode(order) + b"\n")
        await self._host.stdin.drain()

    async def _answer(self, id: int) -> Answer:
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[id] = waiting
        return await waiting

    async def _read_answers(self) -> None:
        assert self._host is not None and self._host.stdout is not None
        while line := await self._host.stdout.readline():
            answer = msgspec.json.decode(line, type=Answer)
            self._waiting.pop(answer.id).set_result(answer)
        for id, waiting in self._waiting.items():
            waiting.set_result(Answer(id, problem="the process that runs pods was ended; run the workflow again with 'argo retry'"))


def _parameters(template: Template, paths: PodPaths) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in template.outputs.parameters:
        if one.value_from is None:
            found[one.name] = one.value or ""
            continue
        try:
            with open(paths.find(one.value_from.path), encoding="utf-8", errors="replace") as file:
                found[one.name] = file.read().removesuffix("\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if one.value_from.default is None:
                message = f"the output parameter {one.name!r} has no value: nothing was written to {one.value_from.path}; write it, or give a default"
                raise ExecutionError("output-not-written", message) from error
            found[one.name] = one.value_from.default
    return found


def _result(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_RESULT_BYTES - 1))
        data = file.read()
    return data.removesuffix(b"\n")[-MOST_RESULT_BYTES:].decode("utf-8", "replace")
