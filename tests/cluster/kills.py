"""Jobs in pods in whose middle something is killed, many times: `python -m tests.cluster.kills --rounds 20`.

Each round is a job of 2,000 datums in a namespace and a home of its own. It must end SUCCESS with the right output and each datum's result once, and leave no
Job and no pod. Record, leases and objects are in real PostgreSQL, etcd and S3 servers beside the cluster.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from tests.cluster.__main__ import CACHE
from tests.cluster.commands import run
from tests.cluster.failing_proxy import failing
from tests.cluster.homes import Home, make_home, works
from tests.cluster.images import BUSYBOX, WORKER, load_images
from tests.cluster.plan import Plan
from tests.cluster.pods import Namespace
from tests.cluster.processes import find_running
from tests.cluster.running import Cluster, find_number
from tests.cluster.servers import Server, served

WORKERS = 4
JOB_SECONDS, CLEAN_SECONDS = 1800, 300
DOWN_SECONDS, SHORT_SECONDS = 30, 3
LATEST_SECONDS = 8
ERRORS = 0.05


@dataclass
class Scene:
    """A job that runs, and what may be killed."""

    cluster: Cluster
    home: Home
    servers: Mapping[str, Server]
    driver: "Driver"


class Driver:
    """The process that drives the job, started again whenever it ends before the job does, as Dagster does it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._drive, name="driver", daemon=True)
        self.starts = 0
        self.said: list[str] = []

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Driver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.kill()
        self._thread.join()

    def _drive(self) -> None:
        while not self._over.is_set():
            self.starts += 1
            self._process = self._home.start("wait", "commit", "copy@master")
            said, _ = self._process.communicate()
            self.said.append(said[-2000:])
            if self._process.returncode == 0:
                return
            self._over.wait(1)


def kill_pod(scene: Scene) -> None:
    """Three worker pods, one after another, without grace."""
    for pod in random.choices(_working(scene), k=3):
        with suppress(ApiException):
            scene.home.namespace.core.delete_namespaced_pod(pod.metadata.name, scene.home.namespace.name, grace_period_seconds=0)
        _wait(2)


def kill_worker(scene: Scene) -> None:
    """The worker's container alone."""
    _kill_container(scene, lambda pod: pod.status.init_container_statuses, "worker")


def kill_user(scene: Scene) -> None:
    """The container of user code alone."""
    _kill_container(scene, lambda pod: pod.status.container_statuses, "user")


def kill_driver(scene: Scene) -> None:
    scene.driver.kill()


def kill_kubelet(scene: Scene) -> None:
    _kill_daemon(scene, "kubelet")


def kill_cluster_etcd(scene: Scene) -> None:
    """That of the API server."""
    _kill_daemon(scene, "etcd")


def kill_server(name: str, seconds: float) -> Callable[[Scene], None]:
    """A server beside the cluster, which is away for so long."""

    def kill(scene: Scene) -> None:
        scene.servers[name].kill()
        _wait(seconds)
        scene.servers[name].start()

    return kill


KINDS: Mapping[str, Callable[[Scene], None]] = {
    "pod": kill_pod,
    "worker": kill_worker,
    "user": kill_user,
    "driver": kill_driver,
    "kubelet": kill_kubelet,
    "cluster-etcd": kill_cluster_etcd,
    "etcd": kill_server("etcd", SHORT_SECONDS),
    "postgresql": kill_server("postgresql", SHORT_SECONDS),
    "s3-down": kill_server("s3", DOWN_SECONDS),
    "s3-errors": lambda _: None,
}


@dataclass
class Figures:
    """What came of the rounds of one kind."""

    seconds: list[float] = field(default_factory=list)
    driver_starts: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def play(kind: str, cluster: Cluster, namespace: Namespace, servers: Mapping[str, str], processes: Mapping[str, Server], datums: int) -> tuple[float, int]:
    """One round: the seconds that the job took, and how often its driver was started. AssertionError when something is not as it should be."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if kind == "s3-errors":
            url = stack.enter_context(failing(servers["AWS_ENDPOINT_URL"], cluster.plan.host, ERRORS))
            servers = {**servers, "AWS_ENDPOINT_URL": url}
        home = make_home(namespace, cluster.plan.kubeconfig, servers, Path(folder))
        expected = {f"f{number:05}": f"{number}\n" for number in range(datums)}
        home.put(**expected)
        # Long enough for something to happen in their middle.
        home.create(
            cmd=["sh", "-c", "sleep 0.05; cp /pfs/data/* /pfs/out/"],
            parallelism_spec={"constant": WORKERS},
            resource_requests={"cpu": 0.2},
            sidecar_resource_requests={"cpu": 0.2},
        )
        began = time.monotonic()
        with Driver(home) as driver:
            scene = Scene(cluster, home, processes, driver)
            home.wait_for(lambda: _working(scene))
            _wait(random.uniform(0, LATEST_SECONDS))
            KINDS[kind](scene)
            job = home.wait_for(lambda: _ended(home), JOB_SECONDS)
            seconds = time.monotonic() - began
            starts = driver.starts
            said = driver.said
        assert (job["state"], job["reason"]) == ("SUCCESS", ""), f"{job}; its driver said {said}"
        assert (job["data_processed"], job["data_skipped"], job["data_failed"]) == (datums, 0, 0), job
        listed = [json.loads(line) for line in home("list", "datum", f"copy@{job['id']}", "-o", "json").splitlines()]
        assert len(listed) == datums and len({one["id"] for one in listed}) == datums, f"{len(listed)} datums are listed"
        assert home.read_all() == expected
        home.wait_for(home.is_clean, CLEAN_SECONDS)
        return seconds, starts


def _ended(home: Home) -> Any:
    """The job, once it has ended; None too while the record does not answer."""
    try:
        job = home.job()
    except (AssertionError, subprocess.TimeoutExpired):
        return None
    return job if job["state"] in ("SUCCESS", "FAILURE", "KILLED", "UNRUNNABLE") else None


def _working(scene: Scene) -> Sequence[Any]:
    return [pod for pod in scene.home.pods() if works(pod) and pod.metadata.deletion_timestamp is None]


def _kill_container(scene: Scene, statuses: Callable[[Any], Sequence[Any]], name: str) -> None:
    pod = random.choice(_working(scene))
    container = next(one.container_id for one in statuses(pod) if one.name == name).rpartition("/")[2]
    run([*scene.cluster.ctr(), "tasks", "kill", "-s", "SIGKILL", container])


def _kill_daemon(scene: Scene, name: str) -> None:
    running = find_running(name, folder=scene.cluster.plan.folder)
    assert running is not None, f"{name} does not run"
    os.kill(running.pid, signal.SIGKILL)
    _wait(SHORT_SECONDS)
    scene.cluster.up(load=lambda _: None)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@contextmanager
def beside(cluster: Cluster) -> Iterator[tuple[Mapping[str, str], Mapping[str, Server]]]:
    """The servers beside the cluster: how homes find them, and their processes."""
    with served(cluster.plan.host, "s3", "postgresql", "etcd") as found:
        places = {
            "s3": ("versitygw", found["AWS_ENDPOINT_URL"]),
            "postgresql": ("postgres", found["TEST_METADATA_URL"]),
            "etcd": ("etcd", found["TEST_ETCD_URL"]),
        }
        processes = {name: Server(program, url.removesuffix("/postgres").rpartition(":")[2]) for name, (program, url) in places.items()}
        try:
            yield found, processes
        finally:
            for process in processes.values():
                process.end()


@click.command()
@click.option("--rounds", type=int, default=20, show_default=True, help="How many of each kind.")
@click.option("--only", multiple=True, type=click.Choice(list(KINDS)), help="This kind; more than once for several.")
@click.option("--claims", type=click.Choice(["store", "etcd"]), default="store", show_default=True, help="Where workers claim datum sets.")
@click.option("--datums", type=int, default=2000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=CACHE / "cluster", show_default=True, help="Of a cluster that runs.")
def main(rounds: int, only: Sequence[str], claims: str, datums: int, folder: Path) -> None:
    """Kill things in the middle of jobs in pods, and look at what comes of the jobs."""
    number = find_number(folder.absolute())
    if number is None:
        raise click.ClickException(f"there is no cluster in {folder}; make one with 'python -m tests.cluster --folder {folder} up'")
    cluster = Cluster(Plan(folder.absolute(), number), CACHE)
    load_images(cluster, [BUSYBOX, WORKER])
    figures = {kind: Figures() for kind in only or KINDS}
    with beside(cluster) as (servers, processes), config.new_client_from_config(str(cluster.plan.kubeconfig)) as api:
        for round_number in range(rounds):
            for kind, found in figures.items():
                namespace = Namespace.create(api)
                database = f"round_{kind.replace('-', '_')}_{round_number}"
                run(["psql", servers["TEST_METADATA_URL"], "-c", f"create database {database}"])
                record = servers["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}"
                homes = {**servers, "PACHYDERM_METADATA_URL": record, "PACHYDERM_COORDINATION_URL": servers["TEST_ETCD_URL"]}
                if claims == "etcd":
                    homes["PACHYDERM_KUBERNETES_COORDINATION_URL"] = servers["TEST_ETCD_URL"]
                try:
                    seconds, starts = play(kind, cluster, namespace, homes, processes, datums)
                except Exception:  # noqa: BLE001  it is told, and the next round may do better
                    found.problems.append(traceback.format_exc())
                    click.echo(f"{kind} {round_number}: NO\n{found.problems[-1]}")
                else:
                    found.seconds.append(seconds)
                    found.driver_starts.append(starts)
                    click.echo(f"{kind} {round_number}: {seconds:.0f} s, driver started {starts} times")
                namespace.delete()
    for kind, found in figures.items():
        well = len(found.seconds)
        longest = max(found.seconds, default=0)
        click.echo(f"{kind:14} {well} of {rounds} as it should be; the longest job took {longest:.0f} s; drivers started {sum(found.driver_starts)} times")
    sys.exit(any(found.problems for found in figures.values()))


if __name__ == "__main__":
    main()
