"""A keeper of Deployments in a process of its own, and clients that ask what it publishes without a pause."""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pachyderm_dagster.argo.home_objects import HomeObjects
from pachyderm_dagster.argo.kubectl import Surroundings, run_kubectl
from pachyderm_dagster.argo.published_ports import free_port
from pachyderm_dagster.clock import SystemClock
from tests.docs.markdown import ROOT

SECONDS = 90.0
_NEVER = threading.Event()
_SCRIPT = 'echo "$WHAT" > /page/name'


def deployment(port: int, **more: Any) -> dict[str, Any]:
    """One that serves what the variable WHAT says at `/name`."""
    page = [{"name": "page", "mountPath": "/page"}]
    environment = [{"name": "WHAT", "value": "one"}]
    pod = {
        "terminationGracePeriodSeconds": 10,
        "initContainers": [{"name": "write", "image": "busybox", "command": ["sh", "-ec", _SCRIPT], "env": environment, "volumeMounts": page}],
        "containers": [
            {
                "name": "web",
                "image": "busybox",
                "command": ["httpd", "-f", "-p", str(port), "-h", "/page"],
                "ports": [{"containerPort": port, "name": "http"}],
                "readinessProbe": {"httpGet": {"path": "/name", "port": "http"}, "periodSeconds": 0.2},
                "volumeMounts": page,
            }
        ],
        "volumes": [{"name": "page", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **more}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


class DeploymentHome:
    """A home with Deployments."""

    def __init__(self, path: Path) -> None:
        self.path, self.objects, self.port = path, HomeObjects(path), free_port()

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, "PACHYDERM_HOME": str(self.path), "PACHYDERM_OBJECTS": "home"}

    def kubectl(self, *words: str) -> list[str]:
        """What kubectl says."""
        said: list[str] = []
        run_kubectl(words, Surroundings(self.objects, said.append, lambda _note: None, lambda path: Path(path).read_text(), SystemClock()))
        return said

    def apply(self, **more: Any) -> None:
        self.objects.apply(deployment(self.port, **more))

    @contextlib.contextmanager
    def kept(self) -> Iterator[subprocess.Popen[str]]:
        """A keeper for a block, which ends it in good order."""
        command = [sys.executable, "-m", "pachyderm_dagster", "run", "deployment"]
        with open(self.path / "keeper.log", "a") as log, subprocess.Popen(command, cwd=ROOT, env=self.environ, stderr=log, text=True) as process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(SECONDS)
                finally:
                    process.kill()

    def log(self) -> str:
        return (self.path / "keeper.log").read_text()

    def ask(self, path: str = "/name") -> str:
        """What is served; a connection of its own, which counts as failed when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode().strip()
        finally:
            connection.close()

    @contextlib.contextmanager
    def asked_without_a_pause(self, path: str = "/name") -> Iterator[list[str]]:
        """For a block two clients ask; what they heard, and what went wrong as text that begins with `!`."""
        heard: list[str] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                try:
                    heard.append(self.ask(path))
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    heard.append(f"!{error!r}")

        clients = [threading.Thread(target=ask) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            yield heard
        finally:
            over.set()
            for client in clients:
                client.join()


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        _NEVER.wait(0.05)
