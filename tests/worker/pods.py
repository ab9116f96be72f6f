"""Pods without Kubernetes: the worker and the container of user code as two processes with roots of their own, and a work area between driver and pods."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.executors.datum_sets import gather, in_sets
from pachyderm_dagster.executors.kubernetes.offering import Offers
from pachyderm_dagster.pps.spec import DatumSetSpec
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker import linux
from pachyderm_dagster.worker.processes import find_children
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask
from pachyderm_dagster.worker.results_reader import ResultsReader
from pachyderm_dagster.worker.starter import is_static, prepare_volume
from pachyderm_dagster.worker.work_area import Death, WorkArea
from tests.storage.conftest import S3_SETTINGS, S3_URL
from tests.worker.running import ROOT, Files, Place, Ran

JOB, WORKERS = "edges-v1-0a1b", "edges-v1-workers"
BUSYBOX = shutil.which("busybox")
IMAGE_VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "FROM_IMAGE": "yes"}

needs_pods = pytest.mark.skipif(
    os.geteuid() != 0 or BUSYBOX is None or not is_static(Path(BUSYBOX).read_bytes()),
    reason="a container of user code takes root, and the package busybox-static",
)


@dataclass
class Pod:
    """One pod: its volume, and the two processes."""

    place: "PodPlace"
    index: int
    uid: str
    volume: Path
    user: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def restart_worker(self) -> None:
        """As the kubelet does in its place."""
        self.worker = self.place.start_worker(self.index, self.uid, self.volume)

    def restart_container(self) -> None:
        """As the kubelet does in a pod that stays."""
        self.user = self.place.start_container(self.volume)

    def kill_container(self) -> None:
        """As the kernel does when user code wants too much memory: the first process goes, and all others."""
        [first] = find_children(self.user.pid)
        os.kill(first, signal.SIGKILL)

    def kill_machine(self) -> None:
        """All of the pod ends at once, and nothing of it says so."""
        self.worker.kill()
        self.worker.wait()
        self.kill_container()
        self.user.wait()

    def wait(self) -> int:
        """Waits for the container of user code, and then ends the worker as the kubelet does; the exit code of the former."""
        code = self.user.wait()
        self.worker.terminate()
        assert self.worker.wait() == 0
        return code


class PodPlace(Place):
    """A store (a folder, where no URL names another), a work area in it, and pods that work there.

    Attributes:
        stay: whether its pods are those of a Deployment; `serves`: those of a service.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        super().__init__(folder)
        if url:
            self.url, self.store = url, open_store(url)
        self.pods: list[Pod] = []
        self._mounted: list[Path] = []
        self.log_format = "text"
        self.stay = self.serves = False
        self.area = WorkArea(self.store, JOB)

    def give(self, *cmd: str, tasks: Sequence[DatumTask] = (), set_size: int = 1000, etcd: EtcdAddress | None = None, **more: Any) -> None:
        """Writes what the driver writes; `etcd` is where sets are claimed when that is not the store."""
        self.area.begin(self.setup(*cmd, **more), "" if etcd is None else etcd.url)
        self.area.write_sets(gather(in_sets(tasks or [self.task()], DatumSetSpec(number=set_size))), Offers(self.area, etcd).add)

    def start_pod(
        self,
        index: int = 0,
        *,
        image: Path | str = "/",
        user: int = 0,
        folder: str = "/",
        variables: Mapping[str, str] = IMAGE_VARIABLES,
        read_only: bool = False,
        more_binds: Mapping[str, str] | None = None,
        megabytes: int = 0,
    ) -> Pod:
        """`megabytes`: the volume is in memory and has room for so many."""
        uid = f"pod-{len(self.pods)}"
        volume = self.folder / "volumes" / uid
        assert BUSYBOX is not None
        if megabytes:
            volume.mkdir(parents=True)
            linux.mount("tmpfs", str(volume), "tmpfs", 0, f"size={megabytes}m")
            self._mounted.append(volume)
        prepare_volume(str(volume), BUSYBOX)
        container = self.start_container(volume, image=image, user=user, folder=folder, variables=variables, read_only=read_only, more_binds=more_binds)
        pod = Pod(self, index, uid, volume, container, self.start_worker(index, uid, volume))
        self.pods.append(pod)
        return pod

    def start_container(
        self,
        volume: Path,
        *,
        image: Path | str = "/",
        user: int = 0,
        folder: str = "/",
        variables: Mapping[str, str] = IMAGE_VARIABLES,
        read_only: bool = False,
        more_binds: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        binds = {"/pfs": f"{volume}/pfs", "/pach/bin:ro": f"{volume}/bin", "/pach/run": f"{volume}/run"}
        binds |= more_binds or {}
        asked = {
            "root": str(image),
            "binds": binds,
            "first": True,
            "read_only": read_only,
            "user": user,
            "folder": folder,
            "environment": dict(variables),
            "command": ["/pach/bin/busybox", "sh", "/pach/bin/starter"],
        }
        return self._start(asked)

    def start_worker(self, index: int, uid: str, volume: Path) -> subprocess.Popen[bytes]:
        asked = {
            "root": "/",
            "binds": {"/pach": str(volume), "/pfs": f"{volume}/pfs"},
            "first": False,
            "read_only": False,
            "user": 0,
            "folder": "/",
            "environment": {**os.environ, "PYTHONPATH": str(ROOT)},
            "command": [sys.executable, "-P", "-m", *self._command_of(index, uid), self.log_format],
        }
        return self._start(asked)

    def _command_of(self, index: int, uid: str) -> list[str]:
        if self.serves:
            return ["pachyderm_dagster.worker.staying_code", self.url, JOB, uid]
        if self.stay:
            return ["pachyderm_dagster.worker.long_lived", self.url, WORKERS, uid]
        return ["pachyderm_dagster.worker.pod", self.url, JOB, str(index), uid]

    def _start(self, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
        with (self.folder / "containers.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.worker.pod_container", json.dumps(asked)], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def run(self, *cmd: str, tasks: Sequence[DatumTask] = (), parallelism: int = 1, pod: Mapping[str, Any] | None = None, **more: Any) -> list[Ran]:
        """Runs the tasks (or one without inputs) in pods that end by themselves."""
        self.give(*cmd, tasks=tasks, set_size=more.pop("set_size", 1000), **more)
        pods = [self.start_pod(index, **(pod or {})) for index in range(parallelism)]
        assert [one.wait() for one in pods] == [0] * parallelism, self.log()
        return self.results()

    def results(self) -> list[Ran]:
        """What the driver finds, by datum."""
        return sorted((self.read(result) for result in self.new_results()), key=lambda ran: ran.index)

    def new_results(self) -> list[DatumResult]:
        return list(ResultsReader(self.area).new())

    def deaths(self) -> list[Death]:
        return list(self.area.deaths())

    def log(self) -> str:
        return (self.folder / "containers.log").read_text(errors="replace")

    def run_one(self, *cmd: str, inputs: Mapping[str, Files] | None = None, environment: Mapping[str, str] | None = None, **more: Any) -> Ran:
        [ran] = self.run(*cmd, tasks=[self.task(0, inputs, environment)], **more)
        return ran

    def close(self) -> None:
        for pod in self.pods:
            for process in (pod.worker, pod.user):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                process.wait()
        for volume in self._mounted:
            subprocess.run(["umount", volume], check=True)


def wait_for(found: Callable[[], object]) -> None:
    """Until the function says so; the test's own limit is the limit."""
    pause = threading.Event()
    while not found():
        pause.wait(0.01)


@pytest.fixture(params=["folder", *(["s3"] if S3_URL else [])])
def pods(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodPlace]:
    """A place for pods, over a folder, and over S3 where there is one for tests."""
    for name, value in S3_SETTINGS.items() if request.param == "s3" else ():
        monkeypatch.setenv(name, value)
    place = PodPlace(tmp_path, f"{S3_URL}/{secrets.token_hex(8)}" if request.param == "s3" else "")
    try:
        yield place
    finally:
        place.close()
