"""A cluster in this process: an API server with objects in memory, and a kubelet whose containers are real processes, each in a root of its own."""

import asyncio
import base64
import contextlib
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pachyderm_dagster
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.pod_orders import Answer, Order
from tests.executors.kubernetes.api_server import ApiServer, Manifest

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Kubelet:
    """Runs the pods that clients make, for the length of a `with` block.

    Attributes:
        begun: the names of pods that were begun, in order.
        gate: a pod waits for it before it begins.
    """

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._server, self._folder = server, folder
        self._loop = asyncio.new_event_loop()
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._host: HostClient | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name="kubelet")
        server.on_change = self._follow

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with opened_host(self._folder / "host", network=False) as self._host:
            self._ready.set()
            await self._over.wait()
            for pod in list(self._pods.values()):
                pod.cancel()
            await asyncio.gather(*self._pods.values(), return_exceptions=True)

    def _follow(self, change: str, kind: str, found: Manifest) -> None:
        if kind == "pods":
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._begin if change == "ADDED" else self._end, found)

    def _begin(self, found: Manifest) -> None:
        self._pods[found["metadata"]["uid"]] = self._loop.create_task(self._run(found))

    def _end(self, found: Manifest) -> None:
        pod = self._pods.get(found["metadata"]["uid"])
        if pod is not None:
            pod.cancel()

    async def _run(self, found: Manifest) -> None:
        await asyncio.to_thread(self.gate.wait)
        self.begun.append(found["metadata"]["name"])
        pod = _Pod(found, self._folder / found["metadata"]["uid"], self._host, self._server)
        try:
            async with asyncio.timeout(found["spec"].get("activeDeadlineSeconds")):
                await pod.run()
        except TimeoutError:
            pod.fail("Pod was active on the node longer than the specified deadline")


class _Pod:
    """One pod, from its beginning to its end."""

    def __init__(self, found: Manifest, folder: Path, host: HostClient | None, server: ApiServer) -> None:
        assert host is not None
        self._found, self._folder, self._host, self._server = found, folder, host, server
        self._spec = found["spec"]
        self._status: dict[str, Any] = {"phase": "Pending", "podIP": "127.0.0.1", "initContainerStatuses": [], "containerStatuses": []}

    async def run(self) -> None:
        async with self._beside() as beside:
            for container in self._spec.get("initContainers", ()):
                if container.get("restartPolicy") == "Always":
                    beside.append(asyncio.ensure_future(self._container(container)))
                    continue
                code = await self._container(container)
                self._status["initContainerStatuses"].append(self._ended(container, code))
                if code:
                    self._tell("Failed")
                    return
            running = {container["name"]: asyncio.ensure_future(self._container(container)) for container in self._spec["containers"]}
            beside += running.values()
            while left := [one for one in running.values() if not one.done()]:
                self._status["containerStatuses"] = [
                    self._ended(one, task.result()) if (task := running[one["name"]]).done() else {"name": one["name"], "state": {"running": {}}, "ready": True}
                    for one in self._spec["containers"]
                ]
                self._tell("Running")
                await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            self._status["containerStatuses"] = [self._ended(one, running[one["name"]].result()) for one in self._spec["containers"]]
            self._tell("Failed" if any(one.result() for one in running.values()) else "Succeeded")

    def fail(self, message: str) -> None:
        """Tells that it ended so."""
        self._status["message"] = message
        self._tell("Failed")

    @contextlib.asynccontextmanager
    async def _beside(self) -> AsyncIterator[list["asyncio.Future[int]"]]:
        found: list[asyncio.Future[int]] = []
        try:
            yield found
        finally:
            for one in found:
                one.cancel()
            await asyncio.gather(*found, return_exceptions=True)

    def _ended(self, container: Manifest, code: int) -> Manifest:
        said = self._log(container).read_text().strip().splitlines()
        from_log = container.get("terminationMessagePolicy") == "FallbackToLogsOnError" and code and said
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", **({"message": said[-1]} if from_log else {})}
        return {"name": container["name"], "state": {"terminated": ended}}

    def _tell(self, phase: str) -> None:
        # Of one that was deleted nothing is told any more.
        name = self._found["metadata"]["name"]
        there = next((one for one in self._server.objects("pods") if one["metadata"]["name"] == name), None)
        if there is not None and there["metadata"]["uid"] == self._found["metadata"]["uid"]:
            self._server.put("pods", {**there, "status": {**self._status, "phase": phase}})

    def _log(self, container: Manifest) -> Path:
        return self._folder / f"{container['name']}.log"

    async def _container(self, container: Manifest) -> int:
        root = self._folder / "roots" / container["name"]
        root.mkdir(parents=True)
        folders = [(str(self._volume(mount)), mount["mountPath"], not mount.get("readOnly", False)) for mount in container.get("volumeMounts", ())]
        argv = (*container.get("command", ()), *container.get("args", ()))
        environment = {"PATH": PATH, **{one["name"]: self._value(one) for one in container.get("env", ())}}
        if argv[0] == "python" and "pachyderm_dagster.argo.cluster" in " ".join(argv):
            package, prefix = Path(pachyderm_dagster.__file__).parent, os.path.realpath(sys.prefix)
            store = argv[-2].removeprefix("file://")
            folders += [(str(package), "/code/pachyderm_dagster", False), (prefix, prefix, False), (store, store, True)]
            argv, environment = (f"{prefix}/bin/python", *argv[1:]), {**environment, "PYTHONPATH": "/code"}
        order = Order(
            id=0,
            root=str(root),
            argv=argv,
            environment=environment,
            working_dir=container.get("workingDir") or "/",
            folders=tuple(folders),
            log=str(self._log(container)),
        )
        answer: Answer = await self._host.run(order)
        if answer.problem:
            self._log(container).write_text(answer.problem)
        self._server.logs[self._found["metadata"]["name"], container["name"]] = self._log(container).read_bytes()
        return 127 if answer.problem else answer.code

    def _value(self, variable: Mapping[str, Any]) -> str:
        source = variable.get("valueFrom")
        if source is None:
            return str(variable.get("value") or "")
        ((kind, reference),) = source.items()
        if kind == "fieldRef":
            return self._field(reference["fieldPath"])
        assert kind == "configMapKeyRef"
        (found,) = [one for one in self._server.objects("configmaps") if one["metadata"]["name"] == reference["name"]]
        return str(found["data"][reference["key"]])

    def _volume(self, mount: Manifest) -> Path:
        (volume,) = [one for one in self._spec["volumes"] if one["name"] == mount["name"]]
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        folder = self._folder.parent / "claims" / claim if claim else self._folder / "volumes" / mount["name"]
        path: Path = folder / mount.get("subPath", "")
        if not path.exists():
            path.mkdir(parents=True)
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            for name, text in self._files(source):
                (folder / name).write_text(text)
        return path

    def _files(self, source: Manifest) -> Iterator[tuple[str, str]]:
        for item in source.get("downwardAPI", {}).get("items", ()):
            yield item["path"], self._field(item["fieldRef"]["fieldPath"])
        for kind, objects in (("configMap", "configmaps"), ("secret", "secrets")):
            if kind in source:
                name = source[kind].get("secretName") or source[kind]["name"]
                (found,) = [one for one in self._server.objects(objects) if one["metadata"]["name"] == name]
                for key, value in found["data"].items():
                    yield key, base64.b64decode(value).decode() if kind == "secret" else value

    def _field(self, path: str) -> str:
        found = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        assert found is not None
        return str(self._found["metadata"][found[1]][found[2]])


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[ApiServer, Kubelet]]:
    """A cluster for a block."""
    folder.mkdir(parents=True)
    with ApiServer(folder) as server, Kubelet(server, folder / "kubelet") as kubelet:
        yield server, kubelet
