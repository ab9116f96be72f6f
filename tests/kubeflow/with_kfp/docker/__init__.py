"""Stands in for the `docker` package, as far as kfp's DockerRunner uses it: a container is a pod of our Argo engine, in a root of its own on this machine.

TEST_PODS_PYTHON is the Python of this project's environment, which runs pods; TEST_PODS_FOLDERS are folders that all pods see and may write, with colons
between. `docker.errors` is here too.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CLONE = Path(__file__).resolve().parents[4]
PROBLEM = 125
_numbers = itertools.count()


class NotFound(Exception):
    """A container is gone; here none ever is before it was waited for."""


errors = types.ModuleType("docker.errors")
errors.__dict__["NotFound"] = NotFound
sys.modules["docker.errors"] = errors


class Container:
    """A pod that was run to its end."""

    def __init__(self, command: Sequence[str], volumes: Mapping[str, Mapping[str, str]], environment: Mapping[str, str]) -> None:
        python = os.environ["TEST_PODS_PYTHON"]
        scratch = Path(tempfile.mkdtemp(prefix="pod-"))
        for folder in (scratch / "host", scratch / "root", *map(Path, volumes)):
            folder.mkdir(parents=True, exist_ok=True)
        order = {
            "id": next(_numbers),
            "root": str(scratch / "root"),
            "argv": command,
            "environment": {"PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(CLONE), "HOME": "/root", **environment},
            "folders": [
                *((place, found["bind"], True) for place, found in volumes.items()),
                *((folder, folder, True) for folder in os.environ["TEST_PODS_FOLDERS"].split(":")),
                (str(CLONE), str(CLONE), False),
            ],
            "log": str(scratch / "log"),
        }
        # It ends its pods when its input ends.
        words = [python, "-m", "pachyderm_dagster.argo.pod_host", str(scratch / "host"), "no-network"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CLONE) as host:
            assert host.stdin is not None
            assert host.stdout is not None
            self._answer = json.loads(host.stdout.readline())
            if not self._answer.get("problem"):
                host.stdin.write(json.dumps(order) + "\n")
                host.stdin.flush()
                self._answer = json.loads(host.stdout.readline())
            host.stdin.close()
        self._log = (scratch / "log").read_bytes() if (scratch / "log").exists() else b""

    def logs(self, *, stream: bool) -> Iterator[bytes]:
        """What it printed, and why it could not start."""
        problem = self._answer.get("problem", "").encode()
        return iter([line + b"\n" for line in [*self._log.splitlines(), *([problem] if problem else [])]])

    def wait(self) -> dict[str, int]:
        """How it ended."""
        return {"StatusCode": PROBLEM if self._answer.get("problem") else self._answer.get("code", 0)}


class Containers:
    """Runs containers."""

    def run(
        self, image: str, command: Sequence[str], *, volumes: Mapping[str, Mapping[str, str]], environment: Mapping[str, str] | None = None, **_: object
    ) -> Container:
        """The pod that runs the command, which sees the volumes at their places; every image is the machine itself."""
        return Container(command, volumes, environment or {})


class Images:
    """Every image is the machine itself."""

    def list(self) -> list[object]:
        """None is there, so that each is pulled."""
        return []

    def pull(self, image: str) -> None:
        """Is at once done."""


class DockerClient:
    """What is asked for images and containers."""

    def __init__(self) -> None:
        self.containers, self.images = Containers(), Images()

    def info(self) -> dict[str, list[str]]:
        """Says nothing about security."""
        return {"SecurityOptions": []}

    def close(self) -> None:
        """Has nothing to close."""


def from_env() -> DockerClient:
    """The client of this machine."""
    return DockerClient()
