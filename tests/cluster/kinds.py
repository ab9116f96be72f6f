"""What is killed in the middle of jobs in pods, and how."""

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.failing_proxy import Faults
from tests.cluster.homes import Home, works
from tests.cluster.processes import find_running
from tests.cluster.running import Cluster
from tests.cluster.servers import Server

SHORT_SECONDS, SPOILT_SECONDS, DOWN_SECONDS = 3, 15, 30
LATE_DRIVER_SECONDS = 25
ERRORS, LATE_SECONDS = 0.05, 0.5
ENDED = ("SUCCESS", "FAILURE", "KILLED", "UNRUNNABLE")


@dataclass
class Scene:
    """A job that runs, and what may be killed.

    Attributes:
        etcd: where that of the home answers.
        faults: what is wrong with the home's way to S3.
    """

    cluster: Cluster
    home: Home
    servers: Mapping[str, Server]
    etcd: str
    faults: Faults
    driver: "Driver"


class Driver:
    """The process that drives the job, started again whenever it ends before the job does, as Dagster does it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._threads = [threading.Thread(target=self._drive, name="driver", daemon=True)]
        self.starts = 0
        self.said: list[str] = []

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def hold_up(self, seconds: float) -> None:
        """The process stands still, and another one begins beside it, as where a node was asleep."""
        late = self._process
        assert late is not None
        late.send_signal(signal.SIGSTOP)
        self._threads.append(threading.Thread(target=self._drive, name="driver-beside", daemon=True))
        self._threads[-1].start()
        wait(seconds)
        late.send_signal(signal.SIGCONT)

    def __enter__(self) -> "Driver":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
        for thread in self._threads:
            thread.join()

    def _drive(self) -> None:
        while not self._over.is_set():
            self.starts += 1
            process = self._process = self._home.start("wait", "commit", "copy@master")
            self._processes.append(process)
            said, _ = process.communicate()
            self.said.append(said[-2000:])
            if process.returncode == 0:
                return
            self._over.wait(1)


class JobOver(Exception):
    """The job ended before all that was to be killed in its middle was."""


def find_job(home: Home) -> Any:
    """The job, or None while the record does not answer."""
    try:
        return home.job()
    except (AssertionError, subprocess.TimeoutExpired):
        return None


def working(scene: Scene) -> Sequence[Any]:
    """The pods whose containers run, once there are some; JobOver when there will be none."""

    def find() -> Sequence[Any]:
        try:
            found = [pod for pod in scene.home.pods() if works(pod) and pod.metadata.deletion_timestamp is None]
        except (ApiException, HTTPError):
            return ()
        if not found and (job := find_job(scene.home)) is not None and job["state"] in ENDED:
            raise JobOver
        return found

    found: Sequence[Any] = scene.home.wait_for(find)
    return found


def kill_pods(scene: Scene) -> None:
    """Three worker pods, one after another, without grace."""
    for _ in range(3):
        pod = random.choice(working(scene))
        with suppress(ApiException):
            scene.home.namespace.core.delete_namespaced_pod(pod.metadata.name, scene.home.namespace.name, grace_period_seconds=0)
        wait(2)


def kill_worker(scene: Scene) -> None:
    """The worker's container alone."""
    scene.home.wait_for(lambda: _killed(scene, lambda pod: pod.status.init_container_statuses, "worker"))


def kill_user(scene: Scene) -> None:
    """The container of user code alone."""
    scene.home.wait_for(lambda: _killed(scene, lambda pod: pod.status.container_statuses, "user"))


def kill_driver(scene: Scene) -> None:
    scene.driver.kill()


def hold_up_driver(scene: Scene) -> None:
    """For longer than its lease lives."""
    scene.driver.hold_up(LATE_DRIVER_SECONDS)


def kill_daemon(name: str) -> Callable[[Scene], None]:
    """One of the cluster's own."""

    def kill(scene: Scene) -> None:
        running = find_running(name, folder=scene.cluster.plan.folder)
        assert running is not None, f"{name} does not run"
        os.kill(running.pid, signal.SIGKILL)
        wait(SHORT_SECONDS)
        scene.cluster.up(load=lambda _: None)

    return kill


def kill_server(name: str, seconds: float) -> Callable[[Scene], None]:
    """A server beside the cluster, which is away for so long."""

    def kill(scene: Scene) -> None:
        scene.servers[name].kill()
        wait(seconds)
        scene.servers[name].start()

    return kill


def compact(scene: Scene) -> None:
    """The home's etcd forgets all that it had before now, and those who watch it lose their place."""
    asked = ["etcdctl", f"--endpoints={scene.etcd}"]
    revision = json.loads(run([*asked, "endpoint", "status", "--write-out=json"]))[0]["Status"]["header"]["revision"]
    run([*asked, "compaction", "--physical", str(revision)])


def spoil(faults: Faults) -> Callable[[Scene], None]:
    """S3 has such faults for a while."""

    def begin(scene: Scene) -> None:
        scene.faults.share, scene.faults.seconds = faults.share, faults.seconds
        wait(SPOILT_SECONDS)
        scene.faults.share, scene.faults.seconds = 0, 0

    return begin


KINDS: Mapping[str, Callable[[Scene], None]] = {
    "pod": kill_pods,
    "worker": kill_worker,
    "user": kill_user,
    "driver": kill_driver,
    "driver-late": hold_up_driver,
    "kubelet": kill_daemon("kubelet"),
    "cluster-etcd": kill_daemon("etcd"),
    "etcd": kill_server("etcd", SHORT_SECONDS),
    "etcd-compaction": compact,
    "postgresql": kill_server("postgresql", SHORT_SECONDS),
    "s3-down": kill_server("s3", DOWN_SECONDS),
    "s3-errors": spoil(Faults(share=ERRORS)),
    "s3-slow": spoil(Faults(seconds=LATE_SECONDS)),
}


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _killed(scene: Scene, statuses: Callable[[Any], Sequence[Any]], name: str) -> bool:
    """False when the container was about to end by itself."""
    pod = random.choice(working(scene))
    container = next(one.container_id for one in statuses(pod) if one.name == name).rpartition("/")[2]
    try:
        run([*scene.cluster.ctr(), "tasks", "kill", "-s", "SIGKILL", container])
    except ClusterError:
        return False
    return True
