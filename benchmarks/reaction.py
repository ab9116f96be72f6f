"""From `put file` to the finished output of a trivial pipeline, and to its materialization: with a Dagster run, and instant; under `pachyderm-dagster dev`,
and under `pachyderm-dagster react` beside the daemon of a user's own project. Then a burst of one-file commits, as many as `COMMITS` says: with the reactor of
`dev`, instant, and through the commit sensor alone.

What people wait for is in seconds: at most 6 s with a run, 0.5 s instant. Beside it stands how many times that is what the work itself takes: the same job by
`run_job` in one process. The burst is to take few runs, each of which is one process.
"""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import dagster as dg

from benchmarks.measuring import line
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease
from pachyderm_dagster.coordination.names import asked_lease
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.integration.dagster_inner import DAEMON_MODULE
from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

PIPELINE = """
pipeline: {name: copy}
transform: {cmd: [cp, -r, /pfs/data/., /pfs/out/]}
input: {pfs: {repo: data, glob: /*}}
"""
PUTS = 5
PATIENCE = 120.0
"""Seconds: an output, and its event, come long before."""
Under: TypeAlias = Callable[[tuple[str, ...]], contextlib.AbstractContextManager[tuple[Workspace, dg.DagsterInstance]]]
COMMITS = int(os.environ.get("COMMITS", "1000"))


def main() -> None:
    """Prints the medians, and behind them the slowest."""
    work = statistics.median(alone())
    modes = (((), "with a Dagster run", 6.0), (("--instant",), "instant", 0.5))
    for under, where, words, mode, aim in ((under, where, *mode) for under, where in ((served, "dev"), (beside_daemon, "react")) for mode in modes):
        name = f"{mode}, `{where}`"
        output, told = latencies(under, words)
        for what, seconds, most in (("output", output, aim), ("event", told, None)):
            median = statistics.median(seconds)
            detail = f"at most {max(seconds):.2f} s; {median / work:.1f} times the job alone"
            line(f"from a commit to its {what}, {name}", median, most, unit="s", detail=detail)
    for words, sensor_alone, name in (((), False, "with Dagster runs"), ((), True, "by the sensor"), (("--instant",), False, "instant")):
        taken, runs = burst(words, sensor_alone=sensor_alone)
        line(f"each of {COMMITS} commits, {name}, over the job alone", taken / COMMITS / work, detail=f"{taken:.2f} s, in {runs} runs, each one process")


@contextlib.contextmanager
def home() -> Iterator[tuple[Workspace, dict[str, str]]]:
    """A home with the pipeline in it."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "PACHYDERM_HOME": str(Path(folder) / "home")}
        workspace = open_workspace(environ)
        workspace.pfs.create_repo("data")
        workspace.pps.create_pipeline(parse_specs(PIPELINE, source="benchmark")[0])
        yield workspace, environ
        workspace.close()


def put(workspace: Workspace, number: int) -> str:
    """Commits one file; the id of the commit set."""
    with workspace.pfs.modify_file("data@master") as files:
        files.put_bytes(f"/{number}", b"%d" % number)
    return files.commit.id


def alone() -> list[float]:
    """Seconds from each put to the output in one process."""
    found = []
    with home() as (workspace, environ), LocalExecutor(environ) as executor:
        for number in range(PUTS):
            start = time.perf_counter()
            put(workspace, number)
            with workspace.database.read() as txn:
                due = jobs.list_due_set(txn, "default")
            for _, members in due:
                for job in members:
                    run_job(workspace, job, executor=executor)
            found.append(time.perf_counter() - start)
    return found


def latencies(under: Under, words: tuple[str, ...]) -> tuple[list[float], list[float]]:
    """Seconds from each put to the finished output, and to its materialization in Dagster."""
    output, told = [], []
    with under(words) as (workspace, instance):
        for number in range(PUTS):
            start = time.perf_counter()
            first, second = wait(workspace, instance, put(workspace, number))
            output.append(first - start)
            told.append(second - start)
    return output, told


def burst(words: tuple[str, ...], *, sensor_alone: bool) -> tuple[float, int]:
    """Seconds from the first of many commits to the materialization of the last, and how many Dagster runs that took."""
    with served(words) as (workspace, instance), contextlib.ExitStack() as held:
        if sensor_alone:
            # The reactor keeps off while the sensor has just asked for runs.
            workspace.leases.acquire(asked_lease("default"), "benchmark", LEASE_TIME)
            held.enter_context(HeldLease(workspace.leases, asked_lease("default"), "benchmark"))
        before = instance.get_runs_count()
        start = time.perf_counter()
        last = [put(workspace, number) for number in range(COMMITS)][-1]
        _, told = wait(workspace, instance, last)
        with workspace.database.read() as txn:
            states = {job.state for job in jobs.list_job(txn)}
        if states != {JobState.SUCCESS}:
            raise SystemExit(f"jobs ended as {states}")
        return told - start, instance.get_runs_count() - before


@contextlib.contextmanager
def served(words: tuple[str, ...]) -> Iterator[tuple[Workspace, dg.DagsterInstance]]:
    """A home under `dev`, whose pipeline has had its first job."""
    with home() as (workspace, environ):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "pachyderm_dagster", "dev", "--port", str(port), *words]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process, open_instance(workspace.settings) as instance:
            assert process.stdout is not None
            try:
                process.stdout.readline()
                wait(workspace, instance, "")
                yield workspace, instance
            finally:
                process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def beside_daemon(words: tuple[str, ...]) -> Iterator[tuple[Workspace, dg.DagsterInstance]]:
    """A home with a project that declares the pipeline, its daemon and what reacts, when the pipeline has had its first job."""
    with home() as (workspace, environ), open_instance(workspace.settings) as instance:
        folder = workspace.settings.home / "project"
        folder.mkdir()
        (folder / "copy.yaml").write_text(PIPELINE)
        (folder / "library.py").write_text(
            f"from pachyderm_dagster.integration import pachyderm_assets\ndefinitions = pachyderm_assets({str(folder / 'copy.yaml')!r})\n"
        )
        own = {**environ, "DAGSTER_HOME": str(workspace.settings.dagster_home), "PYTHONPATH": str(Path.cwd())}
        daemon = [sys.executable, "-m", DAEMON_MODULE, "run", "-f", "library.py"]
        reactor = [sys.executable, "-m", "pachyderm_dagster", "react", "-f", "library.py", *words]
        with subprocess.Popen(daemon, env=own, cwd=folder) as one, subprocess.Popen(reactor, env=own, cwd=folder, stderr=subprocess.PIPE) as two:
            assert two.stderr is not None
            try:
                while not two.stderr.readline().startswith(b"Reacts to commits"):
                    pass
                wait(workspace, instance, "")
                yield workspace, instance
            finally:
                for process in (two, one):
                    process.send_signal(signal.SIGINT)


def wait(workspace: Workspace, instance: dg.DagsterInstance, commit_id: str) -> tuple[float, float]:
    """When the output of a commit set (the newest there is, when it is empty) was finished, and when Dagster was told.

    Raises:
        SystemExit: when a job failed, or no job has ended for `PATIENCE` seconds.
    """
    key = dg.AssetKey(["default", "copy"])
    finished = None
    left, deadline = -1, time.perf_counter() + PATIENCE
    while True:
        head = workspace.pfs.inspect_commit("copy@master")
        if finished is None and head.finished is not None and commit_id in ("", head.id):
            finished = time.perf_counter()
        event = instance.get_latest_materialization_event(key) if finished is not None else None
        if finished is not None and event is not None and event.asset_materialization is not None:
            tags = event.asset_materialization.tags or {}
            if tags.get("dagster/data_version") == head.id:
                return finished, time.perf_counter()
        if head.error is not None:
            raise SystemExit(f"commit {head} failed: {head.error}")
        if time.perf_counter() > deadline:
            before, deadline = left, deadline + PATIENCE
            with workspace.database.read() as txn:
                left = len(jobs.list_job(txn, unfinished_only=True))
            if left != before:
                continue
            raise SystemExit(f"nothing has come for {PATIENCE:g} s, with {left} jobs left before commit {head}")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
