"""Keeps the Deployments of a home: starts their pods, replaces them by turns, publishes their ports, starts again what died, and says how they do."""

import asyncio
import contextlib
import functools
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from pachyderm_dagster.argo.deployment_pods import pod_of
from pachyderm_dagster.argo.deployment_ports import Routes, route
from pachyderm_dagster.argo.deployment_reading import read_deployment, read_service
from pachyderm_dagster.argo.deployment_specs import RECREATE, ServiceSpec
from pachyderm_dagster.argo.home_kinds import CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE
from pachyderm_dagster.argo.home_objects import HomeObjects, template_hash
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.images import PodImages, make_programs
from pachyderm_dagster.argo.kept_deployment import KeptDeployment, KeptPod
from pachyderm_dagster.argo.local_pod import LocalPod, PodFolder
from pachyderm_dagster.argo.outputs import MAIN
from pachyderm_dagster.argo.pod_volumes import Claims
from pachyderm_dagster.argo.published_ports import Connections, PublishedPorts, Target, free_port
from pachyderm_dagster.argo.resources import Document
from pachyderm_dagster.argo.rolling import next_turn, recreated
from pachyderm_dagster.argo.waits import all_cancelled
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.backoff import Backoff, RestartHistory
from pachyderm_dagster.executors.troubles import Troubles
from pachyderm_dagster.pps.strict import Place

LOOK_SECONDS = 0.5
_LAST_SECONDS = 5.0
_LAST_BYTES = 400


async def keep_deployments(home: Path, is_over: Callable[[], bool], tell: Callable[[str], None], *, rule: Backoff | None = None) -> None:
    """Keeps the Deployments of a home until that is over; waits first until nobody else does.

    Args:
        tell: takes lines for people.
    """
    objects, tries = HomeObjects(home), 0
    while not is_over():
        with contextlib.suppress(BlockingIOError), objects.keeping():
            async with _opened(home, objects, tell, rule or Backoff()) as keeper:
                while not is_over():
                    await keeper.step()
                    await keeper.rest(LOOK_SECONDS)
            return
        tries += 1
        # The first time somebody may only have asked whether they are kept.
        if tries == 2:
            tell("another process keeps the Deployments of this home; they are taken over when that ends")
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _opened(home: Path, objects: HomeObjects, tell: Callable[[str], None], rule: Backoff) -> AsyncIterator["_Keeper"]:
    keeper = _Keeper(home, objects, tell, rule)
    # Pods see values of Secrets there.
    keeper.folder.mkdir(parents=True, exist_ok=True)
    keeper.folder.chmod(0o700)
    # Nothing runs now of what another keeper left there.
    shutil.rmtree(keeper.folder / "pods", ignore_errors=True)
    try:
        yield keeper
    finally:
        await keeper.close()


class _Keeper:
    def __init__(self, home: Path, objects: HomeObjects, tell: Callable[[str], None], rule: Backoff) -> None:
        self.folder = home / "argo" / "deployments"
        self._images = PodImages(self.folder / "images")
        self._claims = Claims(self.folder / "claims", home / "argo" / "claims")
        self._objects, self._tell, self._rule = objects, tell, rule
        self._kept: dict[str, KeptDeployment] = {}
        self._gone: list[KeptDeployment] = []
        self._published = PublishedPorts(self._targets)
        self._services: Sequence[Document] = ()
        self._routes = Routes({}, {})
        self._troubles = Troubles(rule, tell, time.monotonic)
        self._host: HostClient | None = None
        self._host_history = RestartHistory()
        self._host_began = self._host_due = 0.0
        self._open = contextlib.AsyncExitStack()
        self._woken = asyncio.Event()
        self._endings: set[asyncio.Task[None]] = set()

    async def step(self) -> None:
        """Brings what runs to what is wanted now."""
        self._woken.clear()
        self._troubles.attempt("the Deployments", self._follow)
        await self._have_host()
        for one in self._kept.values():
            one.hindered = "" if self._host is not None else f"no pod can be started: {self._host_history.reason}"
            if self._host is not None:
                self._roll(one)
                self._start_due(one)
        await self._publish()
        for one in self._kept.values():
            one.note_progress(time.monotonic())
            self._troubles.attempt(f"the status of Deployment {one.name}", functools.partial(self._say, one))

    async def rest(self, seconds: float) -> None:
        """Waits for so long, or until something happens."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def close(self) -> None:
        """Ends all pods."""
        await self._published.close()
        running = [pod.running for one in [*self._kept.values(), *self._gone] for pod in one.pods if pod.running is not None]
        # What is not gone by then goes with the host.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await all_cancelled([*self._endings, *running])
        await self._open.aclose()

    # --- what is wanted

    def _follow(self) -> None:
        there = {}
        for document in self._objects.list(DEPLOYMENT):
            name, uid = document["metadata"]["name"], document["metadata"]["uid"]
            spec = read_deployment(document["spec"], Place(f"Deployment {name}").field("spec"), [])
            digest = template_hash(document["spec"]["template"])
            kept = self._kept.get(uid)
            if kept is None:
                kept = self._kept[uid] = KeptDeployment(name, document, spec, digest, time.monotonic())
            kept.document, kept.spec, kept.digest = document, spec, digest
            there[uid] = kept
        for uid in self._kept.keys() - there.keys():
            gone = self._kept.pop(uid)
            self._gone.append(gone)
            for pod in gone.staying:
                self._end(gone, pod)
        self._gone = [one for one in self._gone if one.pods]

    async def _have_host(self) -> None:
        if self._host is not None and self._host.has_ended:
            await self._open.aclose()
            self._host = None
            self._put_off_host("the process that runs pods has ended")
        if self._host is None and self._kept and time.monotonic() >= self._host_due:
            self._host_began = time.monotonic()
            try:
                make_programs(self._images.folder)
                opening = opened_host(self.folder / "host", network=True, lock=self._objects.folder / ".pods")
                self._host = await self._open.enter_async_context(opening)
            except (PachydermError, OSError) as error:
                self._put_off_host(str(error))

    def _put_off_host(self, reason: str) -> None:
        """Has what runs pods started again later, the later the more often it has ended in a row."""
        ran = time.monotonic() - self._host_began
        self._host_history = self._host_history.ended(self._rule, ran=ran, reason=reason, failed=True, not_started=False)
        wait = self._rule.wait(self._host_history.failures)
        self._host_due = time.monotonic() + wait
        asyncio.get_running_loop().call_later(wait, self._woken.set)
        self._tell(f"{reason}; what runs pods is started again in {wait:g} s")

    def _roll(self, one: KeptDeployment) -> None:
        standing = one.standing()
        if one.spec.strategy.type == RECREATE:
            turn = recreated(standing, one.spec.wanted, ending=len(one.pods) - len(standing))
        else:
            surge, unavailable = one.spec.margins
            turn = next_turn(standing, one.spec.wanted, surge=surge, unavailable=unavailable)
        for pod in one.staying:
            if pod.name in turn.ends:
                self._end(one, pod)
        for _ in range(turn.starts):
            name = f"{one.name}-{one.digest}-{secrets.token_hex(3)}"
            one.pods.append(KeptPod(name, one.digest, one.spec, Connections(self._woken.set)))

    # --- pods

    def _start_due(self, one: KeptDeployment) -> None:
        for pod in one.staying:
            if pod.running is None and time.monotonic() >= pod.due:
                pod.ports = {port: free_port() for port in pod.spec.ports}
                pod.started = time.monotonic()
                pod.running = asyncio.ensure_future(self._run(pod))
                pod.running.add_done_callback(functools.partial(self._ended, one, pod))

    async def _run(self, pod: KeptPod) -> str:
        """Runs a pod to its end, which is not to come; how it ended."""
        folder = PodFolder(self.folder / "pods" / pod.name)
        await asyncio.to_thread(_empty, folder.path)

        def be_ready(_ip: str) -> None:
            pod.is_ready = True
            self._tell(f"pod {pod.name} serves")
            self._woken.set()

        assert self._host is not None
        try:
            config_maps, secrets_of_home = self._objects.values(CONFIG_MAP), self._objects.values(SECRET)
            made = pod_of(pod.name, pod.spec, config_maps=config_maps, secrets=secrets_of_home, ports=pod.ports, on_ready=be_ready)
            end = (await LocalPod(made, folder, self._host, self._images, self._claims).run())[MAIN]
        except PachydermError as error:
            return "the process that runs pods has ended" if self._host.has_ended else str(error)
        last = await asyncio.to_thread(_last_words, folder)
        return (end.message or "its program ended with exit code 0, and is to stay") + (f": {last}" if last else "")

    def _ended(self, one: KeptDeployment, pod: KeptPod, task: "asyncio.Task[str]") -> None:
        pod.running, pod.is_ready = None, False
        self._woken.set()
        if pod.is_ending or task.cancelled():
            return
        error = task.exception()
        reason = task.result() if error is None else repr(error)
        pod.history = pod.history.ended(self._rule, ran=time.monotonic() - pod.started, reason=reason, failed=True, not_started=False)
        wait = self._rule.wait(pod.history.failures)
        pod.due = time.monotonic() + wait
        asyncio.get_running_loop().call_later(wait, self._woken.set)
        self._tell(f"pod {pod.name} of Deployment {one.name}: {reason}; it starts again in {wait:g} s")

    def _end(self, one: KeptDeployment, pod: KeptPod) -> None:
        """Has a pod get no more connections, and end when those that it has are done."""
        pod.is_ending = True
        task = asyncio.ensure_future(self._to_end(one, pod))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _to_end(self, one: KeptDeployment, pod: KeptPod) -> None:
        deadline = time.monotonic() + pod.spec.grace
        while pod.is_ready and pod.connections.count and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if pod.running is not None:
            await all_cancelled((pod.running,))
        one.pods.remove(pod)
        self._tell(f"pod {pod.name} ended")
        self._woken.set()
        await asyncio.to_thread(shutil.rmtree, self.folder / "pods" / pod.name, ignore_errors=True)

    # --- ports

    async def _publish(self) -> None:
        services: dict[str, ServiceSpec] = {}
        self._troubles.attempt("the Services", self._list_services)
        for document in self._services:
            # One that an older version kept, and this one does not take, is not to end all the others.
            self._troubles.attempt(f"Service {document['metadata']['name']}", functools.partial(_read_into, services, document))
        self._routes = route(self._kept.values(), services)
        for port, problem in (await self._published.publish(self._routes.targets.keys())).items():
            self._routes.problems[self._routes.targets[port][0]].append(problem)
        for one, problems in self._routes.problems.items():
            one.unpublished = problems

    def _list_services(self) -> None:
        self._services = self._objects.list(SERVICE)

    def _targets(self, port: int) -> list[Target]:
        if port not in self._routes.targets:
            return []
        one, inside = self._routes.targets[port]
        return [Target(pod.ports[inside], pod.connections) for pod in one.staying if pod.is_ready and inside in pod.ports]

    # --- status

    def _say(self, one: KeptDeployment) -> None:
        self._objects.set_status(one.name, one.document["metadata"]["uid"], one.status(time.monotonic()))


def _read_into(services: dict[str, ServiceSpec], document: Document) -> None:
    services[document["metadata"]["name"]] = read_service(document["spec"], Place("spec"), [])


def _empty(folder: Path) -> None:
    """Makes the folder of a pod that was not run yet; of one that was, what it printed stays."""
    for name in ("root", "volumes", "containers"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _last_words(folder: PodFolder) -> str:
    """The last line that a pod printed, of its init containers when it came no further."""
    logs = [folder.log, *sorted((folder.path / "containers").glob("*/log"))]
    written = [log for log in logs if log.is_file() and log.stat().st_size]
    if not written:
        return ""
    newest = max(written, key=lambda log: log.stat().st_mtime)
    with open(newest, "rb") as file:
        file.seek(max(0, newest.stat().st_size - _LAST_BYTES))
        return file.read().decode(errors="replace").strip().rpartition("\n")[2]
