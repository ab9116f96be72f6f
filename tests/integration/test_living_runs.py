"""Runs of many commit sets, which tell Dagster of one job after the other: alive as long as their process, dead soon after it, and told of once."""

import contextlib
import datetime as dt
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.integration import job_step
from pachyderm_dagster.integration.due_runs import DueSets
from pachyderm_dagster.integration.set_runs import SILENCE
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.cli.pachctl import ROOT
from tests.integration.home import Home, Tick
from tests.integration.test_shared_runs import KEYS, commit_many, data_versions

# The second telling of a job is where it dies.
DIES_AT_TELLING = """
    import json, os, signal, sys
    import dagster as dg
    from pachyderm_dagster.integration import build_definitions, job_step
    from pachyderm_dagster.integration.instance import open_instance
    from pachyderm_dagster.settings import load_settings

    tell, told = job_step.find_untold_output, []

    def dying(*arguments):
        told.append(arguments)
        if len(told) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return tell(*arguments)

    job_step.find_untold_output = dying
    with open_instance(load_settings(os.environ)) as instance:
        job = build_definitions(os.environ).resolve_job_def("pipelines_default")
        job.execute_in_process(instance=instance, tags=json.loads(sys.argv[1]))
"""


@pytest.fixture
def burst(home: Home) -> list[str]:
    """Four commits that a chain of two pipelines has not done yet."""
    commit_many(home, "a")
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.run_all()
    return commit_many(home, "b", "c", "d", "e")


def test_run_is_alive_for_as_long_as_it_tells_and_tells_each_job_once(home: Home, burst: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = home.tick().requests
    looks: list[Tick] = []

    def looked_at(tell: Callable[..., Any]) -> Callable[..., Any]:
        def telling(*arguments: Any) -> Any:
            looks.append(home.tick())
            return tell(*arguments)

        return telling

    # What shows no sign of life at a look is dead at once.
    monkeypatch.setattr("pachyderm_dagster.integration.set_runs.SILENCE", dt.timedelta(0))
    for name in ("find_untold_output", "describe_output"):
        monkeypatch.setattr(job_step, name, looked_at(getattr(job_step, name)))
    result = home.run(request)
    assert result.success
    assert len(looks) == 2 * len(burst)
    assert [request for look in looks for request in look.requests] == []
    run = home.instance.get_run_by_id(result.run_id)
    assert run is not None and run.status is dg.DagsterRunStatus.SUCCESS
    assert not [entry for entry in home.instance.all_logs(result.run_id) if entry.message.startswith("No process has worked on this run")]
    home.run_all()
    for name in ("edges", "montage"):
        assert {job.run_id for job in home.jobs(name)[:4]} == {result.run_id}
        assert data_versions(home, name)[1:] == burst


def test_job_is_told_before_the_next_one_begins(home: Home, burst: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = home.tick().requests
    before: list[list[str]] = []

    def run_and_note(workspace: Workspace, job: Job, **how: Any) -> Job:
        before.append(data_versions(home, job.pipeline.name)[1:])
        return run_job(workspace, job, **how)

    monkeypatch.setattr(job_step, "run_job", run_and_note)
    assert home.run(request).success
    assert before == 2 * [burst[:number] for number in range(len(burst))]


def test_run_that_is_killed_while_it_tells_is_found_dead_and_what_it_left_is_told_once(home: Home, burst: list[str]) -> None:
    (request,) = home.tick().requests
    environ = {**home.environ, "PYTHONPATH": str(ROOT)}
    tags = json.dumps(dict(request.tags))
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(DIES_AT_TELLING), tags], env=environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (dead,) = home.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    clock = ManualClock(dt.datetime.now(dt.UTC))
    with contextlib.closing(open_workspace(home.environ, clock=clock)) as workspace:
        sets = DueSets(workspace, home.instance, LocalExecutor(home.environ), "default", KEYS, most_sets=9)
        clock.advance(LEASE_TIME)
        silent = sets.look({}, limit=9).silent
        assert list(silent) == [dead.run_id]
        clock.advance(SILENCE)
        assert sets.look(silent, limit=9).requests
        run = home.instance.get_run_by_id(dead.run_id)
        assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
        # The next tick tells what the run did and did not tell.
        home.tick()
        assert data_versions(home, "edges")[1:] == burst[:2]
        while requests := sets.look({}, limit=9).requests:
            for due in requests:
                assert home.execute(*(KEYS[name] for name in due.pipelines), tags=due.tags).success
    home.run_all()
    for name in ("edges", "montage"):
        assert {job.state for job in home.jobs(name)} == {JobState.SUCCESS}
        assert data_versions(home, name)[1:] == burst
