"""What datums in pods cost: a job with one small datum against the bare Indexed Job of the same image, in a pod of its own and in one that stays, and many over
four pods against as many local workers.

It runs where there is a cluster: TEST_KUBECONFIG names its kubeconfig, TEST_STORAGE_S3_URL a bucket that pods reach, AWS_* how, TEST_WORKER_IMAGE the image of
workers. Aims: at most 3 s on top of the bare Job, 0.5 s on top of the bare work where workers stay, at most 1.5 of the local workers, less than 0.01
requests to the API server a datum.

The local workers weigh as much on the processors as the pods of a node do together, so that both have the same share of a machine with other work.

Usage: python -m benchmarks.jobs_in_pods [DATUMS]   (10,000 unless told; 0 for one small datum alone)
"""

import contextlib
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cluster_load import ClusterLoad, Load, own_seconds
from benchmarks.measuring import line
from pachyderm_dagster.executors.choosing import open_executor, tend_workers
from pachyderm_dagster.executors.kubernetes.cluster import JOBS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import is_finished
from pachyderm_dagster.executors.kubernetes.pod_job import remove_job
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState, Pipeline
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

NEEDED = ("TEST_KUBECONFIG", "TEST_STORAGE_S3_URL", "TEST_WORKER_IMAGE")
NAMESPACE, SECRET = "default", "benchmark-store"
IMAGE = "localhost/busybox:1"
# The same program for both: in the image, and on this machine.
COMMAND = ("busybox", "cp", "-r", "/pfs/data/.", "/pfs/out/")
DATUMS, WORKERS = 10_000, 4
REQUESTS = {"resource_requests": {"cpu": 0.2}, "sidecar_resource_requests": {"cpu": 0.2}}
AIM_SECONDS, AIM_STAYING_SECONDS, AIM_RATIO, AIM_REQUESTS = 3.0, 0.5, 1.5, 0.01
ROUNDS = 7


def environ(home: Path, *, local: bool) -> dict[str, str]:
    """The settings of a home of this benchmark."""
    found = {**os.environ, "PACHYDERM_HOME": str(home), "PACHYDERM_STORAGE_URL": f"{os.environ['TEST_STORAGE_S3_URL']}/{uuid.uuid4().hex}"}
    if local:
        return found
    return found | {
        "KUBECONFIG": os.environ["TEST_KUBECONFIG"],
        "PACHYDERM_EXECUTOR": "kubernetes",
        "PACHYDERM_KUBERNETES_NAMESPACE": NAMESPACE,
        "PACHYDERM_KUBERNETES_WORKER_IMAGE": os.environ["TEST_WORKER_IMAGE"],
        "PACHYDERM_KUBERNETES_STORAGE_SECRET": SECRET,
    }


def make_job(workspace: Workspace, datums: int, workers: int, **fields: Any) -> Job:
    """A job that waits to be run, whose datums are so many small files; `fields` are others of its pipeline."""
    repo, pipeline = (f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("data", "copy"))
    workspace.pfs.create_repo(repo)
    with workspace.pfs.modify_file(f"{repo}@master") as changes:
        for number in range(datums):
            changes.put_bytes(f"/{number:05}", b"%0100d" % number)
    spec = {
        "pipeline": {"name": pipeline},
        "input": {"pfs": {"repo": repo, "name": "data", "glob": "/*"}},
        "transform": {"image": IMAGE, "cmd": COMMAND},
        "parallelism_spec": {"constant": workers},
        **REQUESTS,
        **fields,
    }
    return add_pipeline(workspace, spec)


def add_pipeline(workspace: Workspace, spec: Mapping[str, Any]) -> Job:
    """Its first job, which waits to be run."""
    for parsed in parse_specs(json.dumps(spec), source="benchmark"):
        workspace.pps.create_pipeline(parsed)
    return due_job(workspace, spec["pipeline"]["name"])


def due_job(workspace: Workspace, pipeline: str) -> Job:
    """The job of a pipeline that waits to be run."""
    with workspace.database.read() as txn:
        return next(job for job in jobs.list_job(txn, unfinished_only=True) if job.pipeline.name == pipeline)


def run_seconds(workspace: Workspace, settings: Mapping[str, str], job: Job) -> float:
    """The job, from its start until its output is there."""
    with open_executor(workspace, settings) as executor:
        began = time.perf_counter()
        ended = run_job(workspace, job, executor=executor)
        taken = time.perf_counter() - began
    if ended.state is not JobState.SUCCESS:
        raise SystemExit(f"{ended}: {ended.reason}")
    return taken


def bare_seconds(cluster: Cluster) -> float:
    """An Indexed Job of one pod with the same image and command, and nothing to copy, from its creation until it is complete."""
    mounts = [{"name": "pfs", "mountPath": f"/pfs/{name}", "subPath": name} for name in ("data", "out")]
    container = {"name": "user", "image": IMAGE, "command": COMMAND, "volumeMounts": mounts}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "pfs", "emptyDir": {}}]}
    body: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"bare-{uuid.uuid4().hex[:8]}"},
        "spec": {"completionMode": "Indexed", "completions": 1, "parallelism": 1, "template": {"spec": pod}},
    }
    began = time.perf_counter()
    made = cluster.create(JOBS, body)
    assert made is not None
    while not is_finished(cluster.get(JOBS, body["metadata"]["name"]) or made):
        time.sleep(0.05)
    taken = time.perf_counter() - began
    remove_job(cluster, made)
    return taken


def main() -> None:
    """Prints the figures; an argument is the number of datums."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        line(f"left out: there is no cluster to measure on ({', '.join(missing)} not set)", None)
        return
    datums = int(sys.argv[1]) if len(sys.argv) > 1 else DATUMS
    with tempfile.TemporaryDirectory() as folder, pods_home(Path(folder)) as (home, settings):
        assert home.settings.kubernetes is not None
        measure_one(home, settings)
        if datums:
            measure_many(home, settings, datums, Path(folder))


@contextlib.contextmanager
def pods_home(folder: Path) -> Iterator[tuple[Workspace, Mapping[str, str]]]:
    """A home whose jobs run in pods, and its settings."""
    settings = environ(folder / "pods", local=False)
    home = open_workspace(settings)
    assert home.settings.kubernetes is not None
    cluster = Cluster(home.settings.kubernetes)
    store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    cluster.create(SECRETS, {"metadata": {"name": SECRET}, "stringData": store})
    try:
        yield home, settings
    finally:
        cluster.delete(SECRETS, SECRET)
        home.close()


def measure_one(home: Workspace, settings: Mapping[str, str]) -> None:
    """A job with one small datum."""
    assert home.settings.kubernetes is not None
    cluster = Cluster(home.settings.kubernetes)
    rounds = [(bare_seconds(cluster), run_seconds(home, settings, make_job(home, 1, 1))) for _ in range(4)][1:]
    bare, small = (sorted(times)[1] for times in zip(*rounds, strict=True))
    line("a job with one small datum / bare Indexed Job", small / bare, 1.3, detail=f"{small:.2f} s, {bare:.2f} s")
    line("the same, on top of it", small - bare, AIM_SECONDS, unit="s")
    times = sorted(staying_seconds(home, settings))
    staying, shown = times[len(times) // 2], ", ".join(f"{time:.2f}" for time in times)
    line("a job with one small datum in a pod that stays, all of it on top of its work", staying, AIM_STAYING_SECONDS, unit="s", detail=shown)
    line("the same / bare Indexed Job", staying / bare, None)


def staying_seconds(home: Workspace, settings: Mapping[str, str]) -> list[float]:
    """Jobs of one small new datum each, one after another, in the pod of the job before them."""
    job = make_job(home, 1, 1, autoscaling=True)
    run_seconds(home, settings, job)
    (source,) = (branch.repo for branch in pipeline_of(home, job).inputs)
    taken = []
    for number in range(1, ROUNDS + 1):
        with home.pfs.modify_file(f"{source.name}@master") as changes:
            changes.put_bytes(f"/{number:05}", b"%0100d" % number)
        taken.append(run_seconds(home, settings, due_job(home, job.pipeline.name)))
    home.database.write(lambda txn: pipelines.delete_pipeline(txn, job.pipeline))
    tend_workers(home)
    return taken


def pipeline_of(home: Workspace, job: Job) -> Pipeline:
    """The pipeline of a job."""
    with home.database.read() as txn:
        return pipelines.get_pipeline(txn, job.pipeline)


def measure_many(home: Workspace, settings: Mapping[str, str], datums: int, folder: Path) -> None:
    """Many small datums, in pods and then by local workers."""
    assert home.settings.kubernetes is not None
    load, few = ClusterLoad(home.settings.kubernetes), datums // 10
    _, small = in_pods(home, settings, load, few)
    pods, taken = in_pods(home, settings, load, datums)
    with share_of_pods(load.nodes()[0]):
        local, own = by_local_workers(folder / "local", datums)
    line(f"{datums:,} small datums over {WORKERS} pods / {WORKERS} local workers", pods / local, AIM_RATIO, detail=f"{pods:.1f} s, {local:.1f} s")
    each = f"{taken.seconds / datums * 1000:.2f} ms, {own / datums * 1000:.2f} ms a datum, without the store's server"
    line("the same, seconds of processors", taken.seconds / own, AIM_RATIO, detail=each)
    fewer, more = load.requests_of(small), load.requests_of(taken)
    detail = f"{fewer:.0f} for {few:,}, {more:.0f} for {datums:,}: {WORKERS} pods that begin and end"
    line("requests to the API server that one datum more makes", max(0.0, more - fewer) / (datums - few), AIM_REQUESTS, detail=detail)


def in_pods(home: Workspace, settings: Mapping[str, str], load: ClusterLoad, datums: int) -> tuple[float, Load]:
    """How long a job takes, and what it costs the cluster."""
    job = make_job(home, datums, WORKERS)
    before = load.now()
    taken = run_seconds(home, settings, job)
    return taken, load.now() - before


def by_local_workers(folder: Path, datums: int) -> tuple[float, float]:
    """How long a job takes, and how many seconds of processors."""
    settings = environ(folder, local=True)
    home = open_workspace(settings)
    job, before = make_job(home, datums, WORKERS), own_seconds()
    taken = run_seconds(home, settings, job)
    home.close()
    return taken, own_seconds() - before


@contextlib.contextmanager
def share_of_pods(node: str) -> Iterator[None]:
    """Has this process, and what it starts, weigh as the pods of a test cluster's node do together, where that is on this machine."""
    groups = Path("/sys/fs/cgroup/cpu")
    if os.geteuid() != 0 or not (groups / node).exists():
        yield
        return
    own = groups / f"{node}-benchmark"
    own.mkdir(exist_ok=True)
    (own / "cpu.shares").write_text((groups / node / "cpu.shares").read_text())
    (own / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (groups / "cgroup.procs").write_text(str(os.getpid()))
        own.rmdir()


if __name__ == "__main__":
    main()
