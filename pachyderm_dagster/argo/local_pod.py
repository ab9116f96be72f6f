"""A pod of this machine: its containers, each in a root of its own, in the order in which Kubernetes starts and ends them."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pachyderm_dagster.argo.containers import Container, Script, SetContainer, UserContainer
from pachyderm_dagster.argo.host_client import HostClient
from pachyderm_dagster.argo.images import PodImages, program_of
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.outputs import MAIN, OMITTED, OWN_FAILURE, exit_end
from pachyderm_dagster.argo.pod_orders import Answer, Order
from pachyderm_dagster.argo.pod_paths import Mount, PodPaths
from pachyderm_dagster.argo.pod_root import SYSTEM
from pachyderm_dagster.argo.pod_settings import environment_of
from pachyderm_dagster.argo.pod_volumes import Claims, mounts_of
from pachyderm_dagster.argo.pods import ContainerEnd, Pod
from pachyderm_dagster.argo.readiness import ADDRESS, probe_of
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.argo.waits import all_cancelled, cancelled
from pachyderm_dagster.errors import InvalidError

SCRIPT = "/argo/staging/script"
_SYSTEM_MOUNTS = tuple(Mount(f"/{name}", f"/{name}", writable=False) for name in SYSTEM)


@dataclass(frozen=True, slots=True)
class PodFolder:
    """What is kept of a pod: the roots of its containers, its volumes, what it printed."""

    path: Path

    @property
    def volumes(self) -> Path:
        """Where the volumes are that are its own."""
        return self.path / "volumes"

    @property
    def log(self) -> Path:
        """What its main containers printed."""
        return self.path / "log"

    @property
    def result(self) -> Path:
        """What its main container printed on its standard output."""
        return self.path / "stdout"

    def root(self, container: str) -> Path:
        """The root of a container."""
        return self.path / "root" if container == MAIN else self.path / "containers" / container / "root"

    def log_beside(self, container: str) -> Path:
        """What a container printed that is none of the main ones."""
        return self.path / "containers" / container / "log"


class LocalPod:
    """Runs the containers of a pod.

    Args:
        images: what pods see of those.
        claims: where volumes are that are not the pod's own.
    """

    def __init__(self, pod: Pod, folder: PodFolder, host: HostClient, images: PodImages, claims: Claims) -> None:
        self._pod, self._folder, self._host, self._images, self._claims = pod, folder, host, images, claims

    def paths(self, container: Container) -> PodPaths:
        """Where the paths of a main container are."""
        return PodPaths(str(self._folder.root(_name_of(container))), (*_SYSTEM_MOUNTS, *self._mounts(container)))

    async def run(self) -> dict[str, ContainerEnd]:
        """Runs what comes first, the main containers to their ends, and what runs beside them for as long; the ends of the main ones."""
        template = self._pod.template
        for first in template.init_containers:
            end = await self._beside(first)
            if end.phase is not Phase.SUCCEEDED:
                return {MAIN: ContainerEnd(end.phase, f"the init container {first.name!r}: {end.message}", end.exit_code)}
        beside = [asyncio.ensure_future(self._beside(one)) for one in template.sidecars]
        try:
            if template.container_set is None:
                (container,) = template.containers
                return {MAIN: await self._main(container)}
            return await self._several(template.container_set.containers)
        finally:
            for one in beside:
                await cancelled(one)

    async def _several(self, containers: tuple[SetContainer, ...]) -> dict[str, ContainerEnd]:
        running: dict[str, asyncio.Task[ContainerEnd]] = {}
        async with asyncio.TaskGroup() as tasks:
            for container in containers:
                running[container.name] = tasks.create_task(self._after(container, running))
        return {name: task.result() for name, task in running.items()}

    async def _after(self, container: SetContainer, running: dict[str, asyncio.Task[ContainerEnd]]) -> ContainerEnd:
        for name in container.dependencies:
            if (await asyncio.shield(running[name])).phase is not Phase.SUCCEEDED:
                return OMITTED
        assert self._pod.template.container_set is not None
        strategy = self._pod.template.container_set.retry_strategy
        left = int(strategy.retries) if strategy else 0
        while True:
            end = await self._main(container)
            if end.phase is Phase.SUCCEEDED or not left:
                return end
            left -= 1
            await asyncio.sleep(to_seconds(strategy.duration) if strategy and strategy.duration else 0)

    async def _main(self, container: Container) -> ContainerEnd:
        is_main = _name_of(container) == MAIN
        order = self._order(container, self._folder.log, self._folder.result if is_main and self._pod.keeps_result else None)
        if not self._pod.template.daemon:
            return _end_of(await self._host.run(order))
        return await self._ready_then_end(container, order)

    async def _beside(self, container: UserContainer) -> ContainerEnd:
        log = self._folder.log_beside(container.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        return _end_of(await self._host.run(self._order(container, log, None)))

    # --- daemons

    async def _ready_then_end(self, container: Container, order: Order) -> ContainerEnd:
        started = asyncio.Event()
        asking = asyncio.ensure_future(self._until_ready(container, started))
        asking.add_done_callback(functools.partial(_tell_ready, self._pod.on_ready))
        running = asyncio.ensure_future(self._host.run(order, started=started.set))
        try:
            await asyncio.wait((asking, running), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                # Who cannot ask never hears that it is ready.
                asking.result()
            return _end_of(await running)
        except InvalidError as error:
            return ContainerEnd(Phase.ERROR, error.message)
        finally:
            await all_cancelled((asking, running))

    async def _until_ready(self, container: Container, started: asyncio.Event) -> None:
        await started.wait()
        if container.readiness_probe is None:
            return
        probe = probe_of(container.readiness_probe)
        await asyncio.sleep(probe.first_wait)
        left = probe.successes
        log = self._folder.log_beside("readiness")
        log.parent.mkdir(parents=True, exist_ok=True)
        while True:
            left = left - 1 if await self._succeeds(self._order_of(container, probe.argv, log), probe.limit) else probe.successes
            if left == 0:
                return
            await asyncio.sleep(probe.wait)

    async def _succeeds(self, order: Order, limit: float | None) -> bool:
        try:
            async with asyncio.timeout(limit):
                answer = await self._host.run(order)
        except TimeoutError:
            return False
        return not answer.problem and answer.code == 0

    # --- orders

    def _order(self, container: Container, log: Path, result: Path | None) -> Order:
        argv = program_of(container.image, container.command, container.args)
        if isinstance(container, Script) and container.source:
            script = self._folder.root(_name_of(container)) / SCRIPT.lstrip("/")
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(container.source)
            script.chmod(0o755)
            argv = (*argv, SCRIPT)
        return self._order_of(container, argv, log, result)

    def _order_of(self, container: Container, argv: tuple[str, ...], log: Path, result: Path | None = None) -> Order:
        root = self._folder.root(_name_of(container))
        root.mkdir(parents=True, exist_ok=True)
        folders = [(mount.folder, mount.path, mount.writable) for mount in self._mounts(container)]
        own = {"PATH": self._images.search_path(container.image), "HOME": "/root", "HOSTNAME": self._pod.name}
        return Order(
            id=0,
            ports=tuple(self._pod.ports.items()),
            grace=self._pod.grace,
            root=str(root),
            argv=argv,
            environment=own | environment_of(self._pod, container),
            working_dir=container.working_dir or "/",
            folders=(*folders, *self._images.folders(container.image)),
            log=str(log),
            result=str(result) if result is not None else "",
        )

    def _mounts(self, container: Container) -> tuple[Mount, ...]:
        template = self._pod.template
        wanted = {mount.mount_path: mount for mount in container.volume_mounts}
        if template.container_set is not None:
            wanted = {mount.mount_path: mount for mount in template.container_set.volume_mounts} | wanted
        elif isinstance(container, UserContainer) and container.mirror_volume_mounts:
            wanted = {mount.mount_path: mount for main in template.containers for mount in main.volume_mounts} | wanted
        return mounts_of(self._pod, tuple(wanted.values()), self._folder.volumes, self._claims)


def _name_of(container: Container) -> str:
    return container.name if isinstance(container, SetContainer | UserContainer) else MAIN


def _end_of(answer: Answer) -> ContainerEnd:
    if answer.problem:
        return ContainerEnd(Phase.ERROR, answer.problem)
    end = exit_end(answer.code)
    return replace(end, phase=Phase.ERROR) if answer.code == OWN_FAILURE else end


def _tell_ready(on_ready: Callable[[str], None], asking: "asyncio.Future[None]") -> None:
    if not asking.cancelled() and asking.exception() is None:
        on_ready(ADDRESS)
