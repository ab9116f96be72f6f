"""Due sets run in this process, as Dagster runs, when there is no daemon."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from pachyderm_dagster.coordination.drivers import SENSOR_OWNER, tell_tick
from pachyderm_dagster.coordination.names import sensor_lease, set_lease
from pachyderm_dagster.errors import ExecutionError, StorageError, UnreachableError
from pachyderm_dagster.integration.run_due import run_due
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, Job, JobState
from tests.integration.gate import Gate
from tests.integration.home import LONG, Home

HANG_SECONDS = 60


def all_done(home: Home) -> bool:
    with home.workspace.database.read() as txn:
        return not jobs.list_job(txn, unfinished_only=True)


def run_until_done(home: Home) -> list[tuple[str, JobState, int]]:
    """Runs what is due and returns what it told of the jobs on the way."""
    told: list[tuple[str, JobState, int]] = []

    def on_job(job: Job, state: JobState, counters: Counters) -> None:
        told.append((job.pipeline.name, state, counters.data_processed))

    assert run_due(home.workspace, home.environ, until=lambda: all_done(home), on_job=on_job)
    return told


def test_due_sets_run_in_order_and_are_in_dagsters_history(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.commit("images@master", {"/b": "1"})
    told = run_until_done(home)
    assert [(name, processed) for name, state, processed in told if state is JobState.SUCCESS] == [("edges", 1), ("montage", 1), ("edges", 1), ("montage", 1)]
    runs = list(reversed(home.instance.get_runs()))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 3
    assert {run.tags["pachyderm/started_by"] for run in runs} == {"command line"}
    assert [job.run_id for job in home.jobs("edges")] == [runs[2].run_id, runs[0].run_id]
    assert [len(home.materializations("default", name)) for name in ("images", "edges", "montage")] == [2, 2, 2]
    assert capfd.readouterr() == ("", "")


def test_nothing_due_returns_at_once_and_says_that_it_is_not_done(home: Home) -> None:
    assert not run_due(home.workspace, home.environ, until=lambda: False)


def test_open_input_is_not_waited_for(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    run_until_done(home)
    home.workspace.pfs.start_commit("images@master")
    assert not run_due(home.workspace, home.environ, until=lambda: all_done(home))


def test_failed_job_is_told_and_ends_the_wait(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", code="exit 1")
    home.pipeline("montage", "edges")
    told = run_until_done(home)
    assert [(name, state) for name, state, _ in told if state.is_terminal] == [("edges", JobState.FAILURE), ("montage", JobState.UNRUNNABLE)]


def test_sets_of_several_projects_run_through(home: Home) -> None:
    home.workspace.database.write(lambda txn: repos.create_project(txn, "vision"))
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges", project="vision", input={"pfs": {"repo": "edges", "project": "default", "glob": "/*"}})
    told = run_until_done(home)
    assert [name for name, state, _ in told if state is JobState.SUCCESS] == ["edges", "montage"]


def test_daemon_is_left_to_do_its_work(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    assert home.workspace.leases.acquire(sensor_lease("default"), SENSOR_OWNER, LONG)
    assert not run_due(home.workspace, home.environ, until=lambda: all_done(home))
    assert home.jobs("edges")[0].state is JobState.CREATED
    assert home.instance.get_runs() == []


def test_project_whose_daemon_runs_jobs_by_another_executor_is_left_to_it(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    tell_tick(home.workspace.leases, "default", "kubernetes")
    home.workspace.leases.release(sensor_lease("default"), SENSOR_OWNER)
    assert not run_due(home.workspace, home.environ, until=lambda: all_done(home))
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_set_that_another_command_line_runs_is_waited_for(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (job,) = home.jobs("edges")
    said: list[str] = []
    with home.lease(set_lease(job.id)):
        assert run_due(home.workspace, home.environ, until=lambda: bool(said), on_wait=said.append)
    assert said == [f"{job.id} is being run by a command line"]
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_run_that_nobody_took_from_the_queue_is_taken_over(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    tags = {"pachyderm/commit_set": home.jobs("edges")[0].id}
    queued = home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=tags)
    run_until_done(home)
    left = home.instance.get_run_by_id(queued.run_id)
    assert left is not None and left.status is dg.DagsterRunStatus.CANCELED
    assert home.jobs("edges")[0].state is JobState.SUCCESS


def test_error_beside_the_users_code_is_raised_with_its_reason(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    scratch = home.workspace.settings.home / "scratch"
    scratch.write_text("in the way")
    with pytest.raises(ExecutionError, match=r"ended without finishing edges@.*\[run-failed\]"):
        run_due(home.workspace, home.environ, until=lambda: all_done(home))
    scratch.unlink()
    run_until_done(home)
    assert home.jobs("edges")[0].state is JobState.SUCCESS


def test_error_of_ours_is_told_and_not_what_it_came_from(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object) -> None:
        raise UnreachableError("cluster-unreachable", "the API server does not answer; check KUBECONFIG") from OSError("connection refused")

    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    monkeypatch.setattr("pachyderm_dagster.executors.run_job.consider_datums", away)
    with pytest.raises(ExecutionError, match=r"the API server does not answer; check KUBECONFIG \[cluster-unreachable\]; `pachctl wait` tries again"):
        run_due(home.workspace, home.environ, until=lambda: all_done(home))


def let_leases_run_out(home: Home) -> None:
    home.workspace.database.write(lambda txn: txn.run(sa.delete(t.lease)))


class CommandLine:
    """Another process that runs due sets until it is told to end."""

    def __init__(self, home: Home) -> None:
        code = """
            import os
            from pachyderm_dagster.integration.run_due import run_due
            from pachyderm_dagster.workspace import open_workspace
            try:
                run_due(open_workspace(os.environ), os.environ, until=lambda: False)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        """
        clone = str(Path(__file__).resolve().parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, **home.environ, "PYTHONPATH": clone},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def end(self, number: signal.Signals) -> str:
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=HANG_SECONDS)
        return output


def test_interrupt_leaves_the_job_to_the_next(home: Home) -> None:
    gate = Gate(home)
    other = CommandLine(home)
    gate.wait()
    assert "interrupted" in other.end(signal.SIGINT)
    assert not home.jobs("edges")[0].state.is_terminal
    gate.open()
    run_until_done(home)
    (job,) = home.jobs("edges")
    assert (job.state, job.restarts) == (JobState.SUCCESS, 1)
    assert len(home.materializations("default", "edges")) == 1


def test_killed_command_line_is_followed_by_exactly_one_run(home: Home) -> None:
    gate = Gate(home)
    other = CommandLine(home)
    gate.wait()
    other.end(signal.SIGKILL)
    said: list[str] = []
    assert run_due(home.workspace, home.environ, until=lambda: bool(said), on_wait=said.append)
    assert said == [f"{home.jobs('edges')[0].id} is being run by a command line"]
    let_leases_run_out(home)
    gate.open()
    run_until_done(home)
    (job,) = home.jobs("edges")
    newest, killed = home.instance.get_runs()
    assert (job.state, job.run_id) == (JobState.SUCCESS, newest.run_id)
    assert killed.status is dg.DagsterRunStatus.FAILURE
    assert len(home.materializations("default", "edges")) == 1


def test_full_disk_of_dagsters_databases_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    monkeypatch.setattr(dg.JobDefinition, "execute_in_process", full)
    with pytest.raises(StorageError, match=r"database or disk is full; .* free some space .*\[dagster-unusable\]"):
        run_due(home.workspace, home.environ, until=lambda: False)
    assert not home.jobs("edges")[0].state.is_terminal
