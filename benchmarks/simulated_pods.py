"""How the driver of a job grows with pods and datums, which are simulated: kwok's node runs no containers, and one process answers for all workers.

It runs where there is a cluster: TEST_KUBECONFIG names it, TEST_STORAGE_S3_URL a bucket. What grows with both should not: requests to the API server,
and, beyond what a plan of so many datums takes, memory; nor should a datum cost the more the more there are.

Usage: python -m benchmarks.simulated_pods [PODS:DATUMS...]   (10:10000 100:100000 1000:1000000 unless told; kwok is built once, 3 minutes)
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from unittest import mock

import msgspec

from benchmarks.cluster_load import open_server, own_seconds
from benchmarks.jobs_in_pods import add_pipeline, environ
from benchmarks.measuring import line, own_peak_mib
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.executors.choosing import open_executor
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.kubernetes.names import JobNames
from pachyderm_dagster.executors.kubernetes.server import Server
from pachyderm_dagster.executors.run_job import Executor, run_job
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.settings import load_cluster
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.cluster.installing import KWOK, cache_folder, install_built

NEEDED = ("TEST_KUBECONFIG", "TEST_STORAGE_S3_URL")
SIZES = ("10:10000", "100:100000", "1000:1000000")
NODE, FAKE = "simulated", {"kwok.x-k8s.io/node": "fake"}
STAGES = Path(__file__).parent / "simulated_node.yaml"


class Driven(msgspec.Struct, frozen=True):
    """What a driver took: memory in MiB, of this process; seconds, of processors where nothing else is said.

    Attributes:
        planned_mib: when it knew what to run.
        peak_mib: at most.
        plan_seconds, run_seconds, end_seconds: until then, until the last result, and for the output.
        wall_seconds: of the clock, for the whole job.
        requests: to the API server, watches among them.
    """

    planned_mib: float
    peak_mib: float
    plan_seconds: float
    run_seconds: float
    end_seconds: float
    wall_seconds: float
    requests: int


def main() -> None:
    """Prints the figures of each size."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        line(f"left out: there is no cluster to measure on ({', '.join(missing)} not set)", None)
        return
    found: list[tuple[int, int, Driven]] = []
    with simulated_node():
        for size in sys.argv[1:] or SIZES:
            pods, datums = map(int, size.split(":"))
            driven = measure(pods, datums)
            found.append((pods, datums, driven))
            tell(pods, datums, driven)
    (_, few, first), (_, many, last) = found[0], found[-1]
    if many > few:
        line("requests of the driver that a datum more makes", (last.requests - first.requests) / (many - few), 0.01)
        each = [driven.run_seconds / datums for _, datums, driven in found]
        line("seconds of the driver a datum, the most / the fewest datums", each[-1] / each[0], 1.5)
        line("bytes of memory that a datum more takes", (last.peak_mib - first.peak_mib) * 2**20 / (many - few))
        line("memory of the driver, the most / the fewest datums", last.peak_mib / first.peak_mib, 1.5)
        line("its requests, the most / the fewest pods and datums", last.requests / first.requests, detail=f"{first.requests} and {last.requests}")


def tell(pods: int, datums: int, driven: Driven) -> None:
    """The figures of one size."""
    memory = f"{driven.peak_mib:.0f} MiB at most, {driven.planned_mib:.0f} when it was planned"
    seconds = f"plan {driven.plan_seconds:.1f} s, results {driven.run_seconds:.1f} s, output {driven.end_seconds:.1f} s of a processor"
    detail = f"{driven.requests} requests; {memory}; {seconds}; {driven.wall_seconds:.0f} s in all"
    line(f"{datums:,} datums in {pods:,} pods, a datum", driven.run_seconds / datums * 1e6, unit="us", detail=detail)


def measure(pods: int, datums: int) -> Driven:
    """A job of so many datums in so many pods."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**environ(Path(folder), local=False), "PACHYDERM_KUBERNETES_WORKER_IMAGE": "none"}
        settings.pop("PACHYDERM_KUBERNETES_STORAGE_SECRET")
        home = open_workspace(settings)
        job = make_job(home, pods, datums)
        store_id = find_store_id(home.store)
        home.close()
        assert store_id is not None
        workers = [sys.executable, "-m", "benchmarks.simulated_workers", settings["PACHYDERM_STORAGE_URL"], JobNames(store_id, job).name, str(pods)]
        with subprocess.Popen(workers, env=settings) as simulated:
            try:
                drive = subprocess.run([sys.executable, "-m", "benchmarks.simulated_pods", "drive"], env=settings, stdout=subprocess.PIPE, check=True)
            finally:
                simulated.kill()
        return msgspec.json.decode(drive.stdout, type=Driven)


def make_job(home: Workspace, pods: int, datums: int) -> Job:
    """A job that waits to be run, each of whose datums is a small file."""
    home.pfs.create_repo("data")
    with home.pfs.modify_file("data@master") as changes:
        for number in range(datums):
            changes.put_bytes(f"/{number:07}", b"%d" % number)
    spec = {
        "pipeline": {"name": f"simulated-{uuid.uuid4().hex[:6]}"},
        "input": {"pfs": {"repo": "data", "glob": "/*"}},
        "transform": {"image": "none", "cmd": ["true"]},
        "parallelism_spec": {"constant": pods},
        "scheduling_spec": {"node_selector": {"kubernetes.io/hostname": NODE}},
        "tolerations": [{"key": "simulated", "operator": "EXISTS"}],
    }
    return add_pipeline(home, spec)


def drive() -> None:
    """Runs the one job of a home, and prints what it took."""
    home = open_workspace(os.environ)
    with home.database.read() as txn:
        job = next(iter(jobs.list_job(txn, unfinished_only=True)))
    with mock.patch.object(Server, "ask", autospec=True, side_effect=Server.ask) as asked, open_executor(home, os.environ) as opened:
        executor = Measured(opened)
        began = time.monotonic()
        before = own_seconds()
        ended = run_job(home, job, executor=executor)
        taken, wall = own_seconds(), time.monotonic() - began
    if ended.state is not JobState.SUCCESS:
        raise SystemExit(f"{ended}: {ended.reason}")
    driven = Driven(
        executor.planned_mib, own_peak_mib(), executor.planned - before, executor.ran - executor.planned, taken - executor.ran, wall, asked.call_count
    )
    sys.stdout.buffer.write(msgspec.json.encode(driven))


class Measured:
    """An executor that notes what this process took until its datums begin, and until they end."""

    planned = ran = planned_mib = 0.0

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        self.planned, self.planned_mib = own_seconds(), own_peak_mib()
        yield from self._executor.run(setup, tasks, parallelism, job)
        self.ran = own_seconds()

    def stop(self) -> None:
        self._executor.stop()

    def restart_asked(self) -> int:
        return self._executor.restart_asked()


@contextlib.contextmanager
def simulated_node() -> Iterator[None]:
    """A node whose pods run when they are asked for, and end when `simulated_workers` says so."""
    kubeconfig = os.environ["TEST_KUBECONFIG"]
    program = install_built(KWOK, cache_folder(os.environ)) / "kwok"
    server = open_server(load_cluster({**os.environ, "KUBECONFIG": kubeconfig}))
    node = {
        "metadata": {"name": NODE, "annotations": FAKE, "labels": {"kubernetes.io/hostname": NODE}},
        "spec": {"taints": [{"key": "simulated", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "10k", "memory": "10Ti", "pods": "20k"}, "capacity": {"cpu": "10k", "memory": "10Ti", "pods": "20k"}},
    }
    command: list[str | Path] = [program, "--kubeconfig", kubeconfig, "--config", STAGES, "--manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as kwok:
        try:
            server.ask("POST", "/api/v1/nodes", f"POST node {NODE}", body=node)
            yield
        finally:
            with contextlib.suppress(NotFoundError):
                server.ask("DELETE", f"/api/v1/nodes/{NODE}", f"DELETE node {NODE}")
            kwok.terminate()


if __name__ == "__main__":
    drive() if sys.argv[1:] == ["drive"] else main()
