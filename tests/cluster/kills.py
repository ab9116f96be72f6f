"""Jobs in pods in whose middle something is killed, many times: `python -m tests.cluster.kills --rounds 20`.

Each round is a job of 2,000 datums in a namespace and a home of its own. It must end SUCCESS with the right output and each datum's result once, and leave no
Job and no pod. Record, leases and objects are in real PostgreSQL, etcd and S3 servers beside the cluster. With `--together` all kinds come in the middle of
each job, one after the other, in random order, each after the job answered more datums since the last one.
"""

import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from kubernetes import config
from kubernetes.client import ApiClient

from tests.cluster.__main__ import CACHE
from tests.cluster.commands import run
from tests.cluster.failing_proxy import Faults, failing
from tests.cluster.homes import Home, make_home
from tests.cluster.images import BUSYBOX, WORKER, load_images
from tests.cluster.kinds import ENDED, KINDS, Driver, JobOver, Scene, find_job, wait, working
from tests.cluster.plan import Plan
from tests.cluster.pods import Namespace
from tests.cluster.running import Cluster, find_number
from tests.cluster.servers import Server, served
from tests.cluster.tally import Round, add_round, due, read_rounds, sums

WORKERS = 4
JOB_SECONDS, CLEAN_SECONDS = 1800, 300
LATEST_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """On what rounds are played."""

    cluster: Cluster
    api: ApiClient
    found: Mapping[str, str]
    processes: Mapping[str, Server]

    @contextmanager
    def home(self, claims: str, faults: Faults) -> Iterator[Home]:
        """A home in a namespace, a database and a folder of its own."""
        namespace = Namespace.create(self.api)
        database = namespace.name.replace("-", "_")
        run(["psql", self.found["TEST_METADATA_URL"], "-c", f"create database {database}"])
        with tempfile.TemporaryDirectory() as folder, failing(self.found["AWS_ENDPOINT_URL"], self.cluster.plan.host, faults) as store:
            etcd = self.found["TEST_ETCD_URL"]
            servers = {
                **self.found,
                "AWS_ENDPOINT_URL": store,
                "PACHYDERM_METADATA_URL": self.found["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}",
                "PACHYDERM_COORDINATION_URL": etcd,
                **({"PACHYDERM_KUBERNETES_COORDINATION_URL": etcd} if claims == "etcd" else {}),
            }
            try:
                yield make_home(namespace, self.cluster.plan.kubeconfig, servers, Path(folder))
            finally:
                namespace.delete()


def play(stage: Stage, kinds: Sequence[str], claims: str, datums: int, pace: float) -> Round:
    """One round. What is not as it should be is its problem."""
    faults, answered = Faults(), list[int]()
    began, starts, problem = time.monotonic(), 0, ""
    try:
        with stage.home(claims, faults) as home:
            expected = {f"f{number:05}": f"{number}\n" for number in range(datums)}
            home.put(**expected)
            home.create(
                cmd=["sh", "-c", f"sleep {pace}; cp /pfs/data/* /pfs/out/"],
                parallelism_spec={"constant": WORKERS},
                resource_requests={"cpu": 0.2},
                sidecar_resource_requests={"cpu": 0.2},
            )
            began = time.monotonic()
            with Driver(home) as driver:
                scene = Scene(stage.cluster, home, stage.processes, stage.found["TEST_ETCD_URL"].removeprefix("etcd://"), faults, driver)
                working(scene)
                for count in kill_each(scene, kinds):
                    answered.append(count)
                job = home.wait_for(lambda: found if (found := find_job(home)) and found["state"] in ENDED else None, JOB_SECONDS)
                seconds, starts = time.monotonic() - began, driver.starts
            # Nothing fails any more; by the short way to the store.
            home.environ = {**home.environ, "AWS_ENDPOINT_URL": stage.found["AWS_ENDPOINT_URL"]}
            check(home, job, expected, driver.said)
            return Round(claims, datums, list(kinds), answered, round(seconds, 1), starts)
    except Exception:  # noqa: BLE001  it is told, and the next round may do better
        problem = traceback.format_exc()
    return Round(claims, datums, list(kinds), answered, round(time.monotonic() - began, 1), starts, problem)


def kill_each(scene: Scene, kinds: Sequence[str]) -> Iterator[int]:
    """Kills them one after another, each in the middle of the job, and gives how many datums were answered before. Ends when the job is over."""
    since = -1
    for kind in kinds:
        scene.home.wait_for(partial(_moved, scene, since), JOB_SECONDS)
        wait(random.uniform(0, LATEST_SECONDS))
        job = scene.home.wait_for(lambda: find_job(scene.home))
        if job["state"] in ENDED:
            return
        click.echo(f"{time.strftime('%H:%M:%S')} {kind} after {job['data_processed']} datums")
        try:
            KINDS[kind](scene)
        except JobOver:
            return
        yield job["data_processed"]
        since = scene.home.wait_for(lambda: find_job(scene.home))["data_processed"]


def check(home: Home, job: Any, expected: Mapping[str, str], said: Sequence[str]) -> None:
    """That a job ended as one of which nothing was killed."""
    datums = len(expected)
    assert (job["state"], job["reason"]) == ("SUCCESS", ""), f"{job}; its driver said {said}"
    assert (job["data_processed"], job["data_skipped"], job["data_failed"]) == (datums, 0, 0), job
    listed = [json.loads(line) for line in home("list", "datum", f"copy@{job['id']}", "-o", "json").splitlines()]
    assert len(listed) == datums and len({one["id"] for one in listed}) == datums, f"{len(listed)} datums are listed"
    assert home.read_all() == expected
    home.wait_for(home.is_clean, CLEAN_SECONDS)


def _moved(scene: Scene, since: int) -> bool:
    job = find_job(scene.home)
    return job is not None and (job["state"] in ENDED or job["data_processed"] > since)


def _address(url: str) -> tuple[str, int]:
    found = urlsplit(url)
    assert found.hostname is not None and found.port is not None, url
    return found.hostname, found.port


@contextmanager
def beside(cluster: Cluster) -> Iterator[tuple[Mapping[str, str], Mapping[str, Server]]]:
    """The servers beside the cluster: how homes find them, and their processes."""
    with served(cluster.plan.host, "s3", "postgresql", "etcd") as found:
        places = {
            "s3": ("versitygw", found["AWS_ENDPOINT_URL"]),
            "postgresql": ("postgres", found["TEST_METADATA_URL"]),
            "etcd": ("etcd", found["TEST_ETCD_URL"]),
        }
        processes = {name: Server(program, _address(url)) for name, (program, url) in places.items()}
        try:
            yield found, processes
        finally:
            for process in processes.values():
                process.end()


@click.command()
@click.option("--rounds", type=int, default=20, show_default=True, help="How often each kind is to come.")
@click.option("--only", multiple=True, type=click.Choice(list(KINDS)), help="This kind; more than once for several.")
@click.option("--together", is_flag=True, help="All kinds in the middle of one job, one after the other, in random order; else a job for each.")
@click.option("--claims", type=click.Choice(["store", "etcd"]), default="store", show_default=True, help="Where workers claim datum sets.")
@click.option("--datums", type=int, default=2000, show_default=True)
@click.option("--pace", type=float, help="How many seconds a datum takes; 0.25 unless given where all kinds are to come in one job, else 0.05.")
@click.option("--folder", type=click.Path(path_type=Path), default=CACHE / "cluster", show_default=True, help="Of a cluster that runs.")
@click.option(
    "--tally",
    type=click.Path(path_type=Path),
    help="Where each round is written, and a series that was interrupted goes on; kills.jsonl in the cluster's folder unless given.",
)
def main(rounds: int, only: Sequence[str], together: bool, claims: str, datums: int, pace: float | None, folder: Path, tally: Path | None) -> None:
    """Kill things in the middle of jobs in pods, and look at what comes of the jobs."""
    number = find_number(folder.absolute())
    if number is None:
        raise click.ClickException(f"there is no cluster in {folder}; make one with 'python -m tests.cluster --folder {folder} up'")
    cluster = Cluster(Plan(folder.absolute(), number), CACHE)
    load_images(cluster, [BUSYBOX, WORKER])
    kinds, tally, pace = only or list(KINDS), tally or folder / "kills.jsonl", pace or (0.25 if together else 0.05)
    with ExitStack() as stack:
        found, processes = stack.enter_context(beside(cluster))
        api = stack.enter_context(config.new_client_from_config(str(cluster.plan.kubeconfig)))
        while left := due(read_rounds(tally, claims), kinds, rounds):
            these = random.sample(left, len(left)) if together else left[:1]
            done = play(Stage(cluster, api, found, processes), these, claims, datums, pace)
            add_round(tally, done)
            click.echo(f"{' '.join(done.came)}: {done.seconds:.0f} s, driver started {done.driver_starts} times" + f"\nNO\n{done.problem}" * bool(done.problem))
    played = read_rounds(tally, claims)
    for one in sums(played, kinds):
        click.echo(f"{one.kind:16} {one.times} times in the middle of a job, {one.failures} of these jobs not as they should be; {one.too_late} times too late")
    well = [one.seconds for one in played if not one.problem]
    click.echo(f"{len(well)} of {len(played)} jobs as they should be; the longest of them took {max(well, default=0):.0f} s")
    sys.exit(len(well) < len(played))


if __name__ == "__main__":
    main()
