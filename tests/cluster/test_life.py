"""A cluster's life, on one of this test's own beside the others: up, up again, killed pieces, and down, after which nothing of it is left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import config

from tests.cluster.commands import wait_until
from tests.cluster.images import BUSYBOX, load_images
from tests.cluster.node import KERNEL_SETTINGS
from tests.cluster.plan import HIGHEST_NUMBER, Plan
from tests.cluster.pods import Namespace
from tests.cluster.processes import ENDING_SECONDS, find_running, last_log_lines
from tests.cluster.running import Cluster

pytestmark = pytest.mark.cluster
KILLED = ("kubelet", "containerd", "kube-apiserver", "etcd")


@pytest.fixture
def second(made_here: Cluster) -> Iterator[Cluster]:
    """Another cluster beside the one that the rest of the suite uses."""
    plan = Plan(Path("/tmp") / f"cluster-{os.getpid()}", HIGHEST_NUMBER)
    cluster = Cluster(plan, made_here.cache)
    yield cluster
    cluster.down()


def pids(cluster: Cluster) -> dict[str, int | None]:
    running = {program.name: find_running(program.name, folder=cluster.plan.folder) for program in cluster.programs()}
    return {name: None if one is None else one.pid for name, one in running.items()}


def run_pod(cluster: Cluster, name: str) -> str:
    with config.new_client_from_config(str(cluster.plan.kubeconfig)) as api:
        namespace = Namespace.create(api)
        return namespace.run_pod(name, {"containers": [{"name": "user", "image": BUSYBOX, "command": ["echo", "ran"]}]})


def start_endless_pod(cluster: Cluster) -> None:
    """One that does not end when it is told to."""
    with config.new_client_from_config(str(cluster.plan.kubeconfig)) as api:
        namespace = Namespace.create(api)
        volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
        command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
        container = {"name": "user", "image": BUSYBOX, "command": command, "volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
        namespace.core.create_namespaced_pod(namespace.name, {"metadata": {"name": "endless"}, "spec": {"containers": [container], "volumes": volumes}})
        namespace.wait_until_ready("endless")


def left_of(cluster: Cluster) -> list[str]:
    """What the machine still has of a cluster: processes, mounts, interfaces, networks, groups, files."""
    plan = cluster.plan
    folder = str(plan.folder)
    processes = [f"process {pid}" for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if folder in command_line(pid)]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if folder in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{plan.name}")]
    files = [str(path) for path in (plan.folder, plan.network_file, Path("/sys/class/net", plan.name)) if path.exists()]
    return [*processes, *mounts, *groups, *files]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kernel_settings() -> list[str]:
    return [Path("/proc/sys", path).read_text() for path in KERNEL_SETTINGS]


def test_cluster_goes_up_twice_heals_and_goes_down_without_a_trace(second: Cluster) -> None:
    settings = kernel_settings()
    second.up(load=load_images)
    first = pids(second)
    assert None not in first.values()
    assert run_pod(second, "first") == "ran\n"

    second.up(load=load_images)
    again = pids(second)
    assert again == first, [last_log_lines(name, logs=second.plan.logs) for name in first if first[name] != again[name]]

    start_endless_pod(second)
    for name in KILLED:
        pid = first[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    # A busy machine takes its time to end them, and what has not ended is not started.
    assert wait_until(lambda: not any(pids(second)[name] for name in KILLED), seconds=ENDING_SECONDS)
    second.up(load=load_images)
    assert None not in pids(second).values()
    assert run_pod(second, "second") == "ran\n"

    assert left_of(second)
    second.down()
    assert left_of(second) == []
    assert kernel_settings() == settings
