"""What datums in pods cost: a job with one small datum against the bare Indexed Job of the same image, and many over four pods against as many local workers.

It runs where there is a cluster: TEST_KUBECONFIG names its kubeconfig, TEST_STORAGE_S3_URL a bucket that pods reach, AWS_* how, TEST_WORKER_IMAGE the image of
workers. Aims: at most 3 s on top of the bare Job, at most 1.5 of the local workers.
"""

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pachyderm_dagster.executors.choosing import open_executor
from pachyderm_dagster.executors.kubernetes.cluster import JOBS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import is_finished
from pachyderm_dagster.executors.kubernetes.pod_job import remove_job
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

NEEDED = ("TEST_KUBECONFIG", "TEST_STORAGE_S3_URL", "TEST_WORKER_IMAGE")
NAMESPACE, SECRET = "default", "benchmark-store"
IMAGE = "localhost/busybox:1"
DATUMS, WORKERS = 2_000, 4
REQUESTS = {"resource_requests": {"cpu": 0.2}, "sidecar_resource_requests": {"cpu": 0.2}}
AIM_SECONDS, AIM_RATIO = 3.0, 1.5


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


def job_seconds(workspace: Workspace, settings: Mapping[str, str], datums: int, workers: int) -> float:
    """One job, from its start until its output is there."""
    repo, pipeline = (f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("data", "copy"))
    workspace.pfs.create_repo(repo)
    with workspace.pfs.modify_file(f"{repo}@master") as changes:
        for number in range(datums):
            changes.put_bytes(f"/{number:05}", b"%0100d" % number)
    spec = {
        "pipeline": {"name": pipeline},
        "input": {"pfs": {"repo": repo, "name": "data", "glob": "/*"}},
        "transform": {"image": IMAGE, "cmd": ["cp", "-r", "/pfs/data/.", "/pfs/out/"]},
        "parallelism_spec": {"constant": workers},
        **REQUESTS,
    }
    for parsed in parse_specs(json.dumps(spec), source="benchmark"):
        workspace.pps.create_pipeline(parsed)
    with workspace.database.read() as txn:
        job = next(job for job in jobs.list_job(txn, unfinished_only=True) if job.pipeline.name == pipeline)
    with open_executor(workspace, settings) as executor:
        began = time.perf_counter()
        ended = run_job(workspace, job, executor=executor)
        taken = time.perf_counter() - began
    if ended.state is not JobState.SUCCESS:
        raise SystemExit(f"{ended}: {ended.reason}")
    return taken


def bare_seconds(cluster: Cluster) -> float:
    """An Indexed Job of one pod that does nothing, from its creation until it is complete."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "user", "image": IMAGE, "command": ["true"]}]}
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
    """Prints seconds and ratios; an argument is the number of datums."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        print(f"left out: there is no cluster to measure on ({', '.join(missing)} not set)")
        return
    datums = int(sys.argv[1]) if len(sys.argv) > 1 else DATUMS
    with tempfile.TemporaryDirectory() as folder:
        settings = environ(Path(folder) / "pods", local=False)
        in_pods = open_workspace(settings)
        assert in_pods.settings.kubernetes is not None
        cluster = Cluster(in_pods.settings.kubernetes)
        store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        cluster.create(SECRETS, {"metadata": {"name": SECRET}, "stringData": store})
        rounds = [(bare_seconds(cluster), job_seconds(in_pods, settings, 1, 1)) for _ in range(4)][1:]
        bare, small = (sorted(times)[1] for times in zip(*rounds, strict=True))
        on_top = f"{small - bare:.2f} s on top (aim {AIM_SECONDS}), {small / bare:.2f} of it"
        print(f"bare Indexed Job {bare:.2f} s; a job with one small datum {small:.2f} s: {on_top}")
        pods = job_seconds(in_pods, settings, datums, WORKERS)
        in_pods.close()
        settings = environ(Path(folder) / "local", local=True)
        here = open_workspace(settings)
        local = job_seconds(here, settings, datums, WORKERS)
        here.close()
        cluster.delete(SECRETS, SECRET)
    print(f"{datums:,} small datums: {pods:.1f} s over {WORKERS} pods, {local:.1f} s on {WORKERS} local workers: {pods / local:.2f} of them (aim {AIM_RATIO})")


if __name__ == "__main__":
    main()
