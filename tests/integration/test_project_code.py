"""The code of a user's own project as what reacts to commits sees it: its assets as they are called there, runs with its definitions, newer code."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.coordination.drivers import SENSOR_OWNER
from pachyderm_dagster.coordination.names import asked_lease
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.dagster_code import CodeLocations, open_code
from pachyderm_dagster.integration.project_code import ProjectCode
from pachyderm_dagster.integration.reacting import Reactor, open_reactor
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.pps.model import JobState
from tests.integration.daemons import idle_instance, instance_of
from tests.integration.home import Home
from tests.integration.test_assets import spec

MODULE = "tests.integration.project_definitions"
BAD = "if [ -e /pfs/images/bad ]; then exit 3; fi; cp /pfs/images/* /pfs/out/"
MINE = dg.AssetKey(["mine", "default", "edges"])


class Project:
    """A user's project whose `edges` has done its first job, and what reacts for it."""

    def __init__(self, home: Home, reactor: Reactor, file: Path) -> None:
        self.home, self.reactor, self.file = home, reactor, file

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.reactor.instance

    def runs(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs())


@contextlib.contextmanager
def opened(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "", *, is_instant: bool = False) -> Iterator[Project]:
    file = tmp_path / "pipelines.yaml"
    file.write_text("---\n".join(json.dumps(found) + "\n" for found in (spec("edges", "images", BAD), spec("montage", "edges"))))
    home.commit("images@master", {"/first": "1"})
    home.pipeline("edges", "images", code=BAD)
    home.pipeline("montage", "edges")
    home.run_all()
    home.workspace.leases.release(asked_lease("default"), SENSOR_OWNER)
    for name, value in (("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"]), ("TEST_PIPELINES", str(file)), ("TEST_PROJECT", kind)):
        monkeypatch.setenv(name, value)
    with idle_instance(home, MODULE, "library") as (instance, context):
        code = ProjectCode(CodeLocations(context), print)
        with open_reactor(home.workspace, home.environ, instance, code, is_instant=is_instant) as reactor:
            yield Project(home, reactor, file)


@pytest.fixture
def project(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with opened(home, tmp_path, monkeypatch, is_instant=True) as found:
        yield found


def test_commit_gets_a_run_of_the_projects_own_assets_once(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(home, tmp_path, monkeypatch) as project:
        before = len(project.runs())
        commit = home.commit("images@master", {"/a": "1"})
        assert project.reactor.look()
        assert not project.reactor.look()
        assert len(project.runs()) == before + 1
        newest = project.runs()[0]
        assert newest.asset_selection == {MINE, dg.AssetKey(["mine", "default", "montage"])}
        assert newest.tags.items() >= {"pachyderm/commit_set": commit.id, "pachyderm/started_by": "reactor"}.items()
        assert newest.status is dg.DagsterRunStatus.STARTING
        assert newest.remote_job_origin is not None
        assert newest.remote_job_origin.location_name == "library"
        assert home.tick().requests == []


def test_instant_job_is_told_of_the_assets_as_the_project_calls_them(home: Home, project: Project) -> None:
    runs = len(project.runs())
    commit = home.commit("images@master", {"/a": "1"})
    assert project.reactor.look()
    assert {job.state for job in (*home.jobs("edges"), *home.jobs("montage"))} == {JobState.SUCCESS}
    assert len(project.runs()) == runs
    for name, upstream in (("edges", "images"), ("montage", "edges")):
        (made,) = home.materializations("mine", "default", name)
        tags = made.tags or {}
        assert tags["dagster/data_version"] == commit.id
        assert tags[f"dagster/input_data_version/mine/default/{upstream}"] == commit.id
    assert (home.materializations("mine", "default", "images")[0].tags or {})["dagster/data_version"] == commit.id


def test_failure_without_a_run_is_a_failed_check_of_the_projects_asset(home: Home, project: Project) -> None:
    home.commit("images@master", {"/bad": "1"})
    assert project.reactor.look()
    assert (home.jobs("edges")[0].state, home.jobs("montage")[0].state) == (JobState.FAILURE, JobState.UNRUNNABLE)
    (record,) = home.instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(MINE, "job"), limit=10)
    assert record.event is not None and record.event.dagster_event is not None
    assert not record.event.dagster_event.asset_check_evaluation_data.passed
    assert home.materializations("mine", "default", "edges") == []


def test_stopped_sensor_stops_what_reacts_too(home: Home, project: Project) -> None:
    context = project.reactor.code.locations._context.create_request_context()  # type: ignore[attr-defined]
    (repository,) = context.get_code_location("library").get_repositories().values()
    sensor = repository.get_sensor("commits_default")
    project.instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
    home.commit("images@master", {"/a": "1"})
    assert not project.reactor.look()
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_step_to_which_a_user_adds_something_gets_a_run(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(home, tmp_path, monkeypatch, "customized", is_instant=True) as project:
        home.commit("images@master", {"/a": "1"})
        before = len(project.runs())
        assert project.reactor.look()
        assert len(project.runs()) == before + 1
        assert home.jobs("edges")[0].state is JobState.CREATED


@pytest.mark.parametrize("is_instant", [False, True], ids=["with a run", "instant"])
def test_set_is_a_partition_where_they_are(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_instant: bool) -> None:
    with opened(home, tmp_path, monkeypatch, "partitioned", is_instant=is_instant) as project:
        commit = home.commit("images@master", {"/a": "1"})
        assert project.reactor.look()
        (partition,) = project.instance.get_dynamic_partitions("pachyderm_commit_sets")
        assert partition.endswith(f"_{commit.id}")
        if is_instant:
            assert home.materializations("default", "edges")[0].partition == partition
        else:
            assert project.runs()[0].tags["dagster/partition"] == partition


def test_newer_code_is_loaded_when_the_record_has_it_and_until_then_a_run_does_what_the_code_says(home: Home, project: Project) -> None:
    other = "cp /pfs/images/* /pfs/out/; date"
    home.pipeline("edges", "images", code=other, update=True)
    assert project.reactor.look()
    # The record is otherwise than any code: the step of a run has the last word.
    assert home.jobs("edges")[0].state is JobState.CREATED
    assert project.runs()[0].tags["pachyderm/started_by"] == "reactor"
    project.file.write_text(f"{json.dumps(spec('edges', 'images', other))}\n---\n{json.dumps(spec('montage', 'edges'))}\n")
    third = "cp /pfs/images/* /pfs/out/; true"
    project.file.write_text(f"{json.dumps(spec('edges', 'images', third))}\n---\n{json.dumps(spec('montage', 'edges'))}\n")
    home.pipeline("edges", "images", code=third, update=True)
    with home.workspace.database.read() as txn:
        served = project.reactor.code.serve(read_snapshot(txn))["default"]
    assert served.by_run == frozenset()


def test_project_in_two_code_locations_is_refused(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pipelines.json"
    file.write_text(json.dumps(spec("edges", "images")))
    monkeypatch.setenv("TEST_PIPELINES", str(file))
    code = "import dagster as dg\nfrom pachyderm_dagster.integration import pachyderm_assets\ndefinitions = pachyderm_assets(%r)\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(code % str(file))
    with home.workspace.database.read() as txn:
        snapshot = read_snapshot(txn)
    files = {"python_file": [str(tmp_path / "one.py"), str(tmp_path / "two.py")]}
    problem = r"code locations one.py and two.py.*project-twice"
    with instance_of(home) as instance, open_code(instance, files) as locations, pytest.raises(InvalidError, match=problem):
        ProjectCode(locations, print).serve(snapshot)
