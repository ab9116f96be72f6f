"""An IO manager in several processes, which are killed."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.client.client import Client
from pachyderm_dagster.errors import NotFoundError
from tests.integration import io_code
from tests.integration.home import QUIET, Home


@pytest.fixture
def processes(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home as the one that the environment of new processes names."""
    monkeypatch.setenv("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    return home


def run(home: Home, **options: Any) -> dg.DagsterRun:
    """One run in processes; returns it as it ended."""
    with dg.execute_job(dg.reconstructable(io_code.processes), instance=home.instance, run_config=QUIET, raise_on_error=False, **options) as result:
        found = home.instance.get_run_by_id(result.run_id)
    assert found is not None
    return found


def commits(home: Home, branch: str) -> list[str]:
    """The ids of the commits of a branch, the newest first."""
    try:
        return [commit.id for commit in Client(home.workspace, project="default").list_commit(branch)]
    except NotFoundError:
        return []


def test_steps_in_processes_hand_values_on_and_a_retried_step_makes_one_commit(processes: Home) -> None:
    assert run(processes).status is dg.DagsterRunStatus.SUCCESS
    assert b"".join(processes.workspace.pfs.get_file("total@master:/data.json")) == b"6"
    assert len(commits(processes, "total@master")) == len(processes.materializations("total")) == 1


@pytest.mark.parametrize(("point", "made"), [(io_code.BEFORE, 0), (io_code.AFTER, 1)])
def test_killed_step_leaves_all_of_its_output_or_nothing_and_the_next_run_is_whole(
    processes: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, made: int
) -> None:
    monkeypatch.setenv(io_code.KILL, point)
    monkeypatch.setenv(io_code.KILLED, str(tmp_path / "killed"))
    killed = run(processes)
    assert killed.status is dg.DagsterRunStatus.FAILURE and (tmp_path / "killed").exists()
    assert len(commits(processes, "numbers@master")) == made and processes.materializations("numbers") == []
    again = run(processes, reexecution_options=dg.ReexecutionOptions(parent_run_id=killed.run_id))
    assert again.status is dg.DagsterRunStatus.SUCCESS
    assert b"".join(processes.workspace.pfs.get_file("total@master:/data.json")) == b"6"
    assert len(commits(processes, "numbers@master")) == made + 1
    # The sensor tells Dagster of the commit whose process died before it could, and of nothing else.
    assert len(processes.tick().events) == made
    assert processes.tick().events == []
