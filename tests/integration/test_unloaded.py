"""Pipelines that the code location does not know: what else there is goes on, they are told of, and are caught up with when they are known."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.cli.waiting import wait_for
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.integration import pachyderm_assets
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.pins import Pin, run_pipelines
from pachyderm_dagster.record import open_record
from tests.integration.home import QUIET, Home

DONE, WAITS = JobState.SUCCESS, JobState.CREATED


def spec(name: str, *repos: str) -> dict[str, Any]:
    inputs = [{"pfs": {"repo": repo, "glob": "/*" if len(repos) == 1 else "/"}} for repo in repos]
    return {
        "pipeline": {"name": name},
        "transform": {"cmd": ["sh"], "stdin": [f"cp /pfs/{repos[0]}/* /pfs/out/"]},
        "input": inputs[0] if len(inputs) == 1 else {"cross": inputs},
    }


class Project:
    """A Dagster project whose pipelines change: what its sensor asks for, and says."""

    def __init__(self, home: Home, file: Path) -> None:
        self.home, self.file = home, file
        self.cursor: str | None = None
        self.said: list[str] = []

    def declare(self, *specs: dict[str, Any]) -> None:
        self.file.write_text("\n---\n".join(json.dumps(each) for each in specs))
        self.definitions = pachyderm_assets(self.file, environ=self.home.environ)

    def tick(self) -> list[dg.RunRequest]:
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(self.home.instance, cursor=self.cursor, repository_def=repository) as context:
            context.log.warning = lambda text, *_: self.said.append(text)  # type: ignore[method-assign]
            data = repository.get_sensor_def("commits_default").evaluate_tick(context)
        self.cursor, self.skip = data.cursor, data.skip_message
        return list(data.run_requests or [])

    def run_all(self) -> list[list[str]]:
        """Runs what the sensor asks for; which pipelines these were."""
        found = []
        while requests := self.tick():
            for request in requests:
                selection = list(request.asset_selection or [])
                job = self.definitions.resolve_job_def(request.job_name or "")
                assert job.execute_in_process(instance=self.home.instance, asset_selection=selection, tags=request.tags, run_config=QUIET).success
                found.append([key.path[-1] for key in selection])
        return found

    def states(self, pipeline: str) -> list[JobState]:
        """Of its jobs, oldest first, without that of the empty inputs."""
        return [job.state for job in reversed(self.home.jobs(pipeline))][1:]


@pytest.fixture
def project(home: Home, tmp_path: Path) -> Project:
    made = Project(home, tmp_path / "pipelines.yaml")
    home.workspace.pfs.create_repo("books")
    made.declare(spec("count", "books"), spec("shout", "books"), spec("both", "count", "shout"))
    made.run_all()
    return made


def test_pipeline_that_is_not_declared_any_more_holds_up_none_but_what_reads_it(project: Project) -> None:
    project.declare(spec("count", "books"), spec("both", "count", "shout"))
    for name in ("a", "b"):
        project.home.commit("books@master", {f"/{name}": name})
    assert project.run_all() == [["count"]]
    assert project.states("count") == [DONE, DONE]
    assert project.states("shout") == project.states("both") == [WAITS, WAITS]


def test_what_is_not_known_is_told_once_in_the_log_and_at_each_tick(project: Project) -> None:
    project.declare(spec("count", "books"))
    project.home.commit("books@master", {"/a": "1"})
    project.run_all()
    project.tick()
    waits = "1 commit set waits for the code location to load both, shout: declare it there, refresh its state, or `pachctl delete pipeline both`"
    assert project.skip == waits
    assert project.said == [waits]


def test_pipeline_that_becomes_known_catches_up_in_order(project: Project) -> None:
    project.declare(spec("count", "books"))
    for name in ("a", "b", "c"):
        project.home.commit("books@master", {f"/{name}": name})
    project.run_all()
    project.declare(spec("count", "books"), spec("shout", "books"), spec("both", "count", "shout"))
    assert all("count" not in run for run in project.run_all())
    assert project.states("shout") == project.states("both") == [DONE, DONE, DONE]
    # Each found the results of the one before.
    assert [job.counters.data_processed for job in project.home.jobs("shout")][:3] == [1, 1, 1]


def test_order_of_a_pipeline_holds_while_an_earlier_job_of_it_waits(project: Project) -> None:
    home = project.home
    project.declare(spec("count", "books"), spec("both", "count", "shout"))
    old = home.workspace.pfs.inspect_commit("shout@master")
    home.commit("books@master", {"/a": "1"})
    project.run_all()
    # A job of `both` that reads nothing unfinished, behind one that does.
    pin = Pin(old.repo, old.id, "master")
    home.workspace.database.write(lambda txn: run_pipelines(txn, [RepoName("default", "both")], pins=[pin]))
    assert project.run_all() == []
    assert project.states("both") == [WAITS, WAITS]


def test_wait_says_which_pipeline_nobody_runs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.declare(spec("count", "books"))
    project.home.commit("books@master", {"/a": "1"})
    project.run_all()
    project.tick()
    pending = project.home.workspace.pfs.inspect_commit("shout@master")
    record = open_record(project.home.environ)
    with pytest.raises(StateError, match="wait-timeout"):
        wait_for(record, project.home.environ, lambda _txn: [pending], timeout=0)
    assert "whose pipeline the code location of the daemon does not load: load it there, or `pachctl delete pipeline shout`" in capsys.readouterr().err
