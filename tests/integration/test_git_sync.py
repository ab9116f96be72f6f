"""A folder of a Git repository in Dagster: a sensor that looks at the branch, an asset that tells its commit, and jobs of its workflows."""

import os
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import GitSync, git_sync
from tests.cli.pachctl import Pachctl
from tests.syncing.git_folder import CRON, PIPES, TEMPLATE, GitFolder

KEY = dg.AssetKey(["sync", "team-prod"])


@pytest.fixture
def declared(tmp_path: Path) -> GitFolder:
    found = GitFolder(tmp_path / "team")
    found.write(pipes__yaml=PIPES, argo__yaml=f"{TEMPLATE}---\n{CRON}")
    return found


def _tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    repository = definitions.get_repository_def()
    with dg.build_sensor_context(instance, cursor=cursor, repository_def=repository) as context:
        found = repository.get_sensor_def("sync_team_prod")(context)
    assert isinstance(found, dg.SensorResult)
    return found


def test_sensor_makes_the_home_as_declared_and_tells_of_it(declared: GitFolder, pachctl: Pachctl) -> None:
    definitions = git_sync(declared.source)
    with dg.DagsterInstance.ephemeral() as instance:
        first = _tick(definitions, instance)
        assert first.asset_events is not None
        (event,) = first.asset_events
        assert event.asset_key == KEY
        assert event.metadata["status"].value == "Synced" and event.metadata["health"].value == "Progressing"
        assert "| create | pipeline count | prod/pipes.yaml |" in str(event.metadata["changes"].value)
        assert {one["name"] for one in pachctl.json("list", "pipeline")} == {"count", "sum"}
        again = _tick(definitions, instance, first.cursor)
        assert not again.asset_events and again.skip_reason is not None
        pachctl("stop", "pipeline", "count")
        pachctl("stop", "pipeline", "sum")
        assert _tick(definitions, instance, again.cursor).asset_events, "its health is another one"


def test_what_is_declared_no_more_is_out_of_sync_until_it_is_pruned(declared: GitFolder) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = _tick(git_sync(declared.source), instance)
        declared.write(argo__yaml=TEMPLATE)
        second = _tick(git_sync(declared.source), instance, first.cursor)
        third = _tick(git_sync(declared.source, prune=True), instance, second.cursor)
    assert [event.metadata["status"].value for found in (second, third) for event in found.asset_events or ()] == ["OutOfSync", "Synced"]


def test_what_is_wrong_fails_the_tick_with_its_line(declared: GitFolder) -> None:
    declared.write(bad__yaml="name: x\n")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(Exception, match="prod/bad.yaml:1: is no pipeline"):
        _tick(git_sync(declared.source), instance)


def test_workflows_of_the_home_are_jobs_and_schedules(declared: GitFolder, pachctl: Pachctl) -> None:
    assert not git_sync(declared.source).jobs
    pachctl("sync", declared.source)
    definitions = git_sync(declared.source)
    schedule = definitions.get_repository_def().get_schedule_def("nightly_schedule")
    assert schedule.cron_schedule == ["0 3 * * *"]
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_job_def("steps").execute_in_process(run_config={"parameters": {"whom": "Dagster"}}, instance=instance)
    assert done.success
    assert "hello Dagster" in pachctl("argo", "logs", "@latest").out


def test_component_is_the_same(declared: GitFolder) -> None:
    component = GitSync(source=declared.source, every="5m", home=os.environ["PACHYDERM_HOME"])
    definitions = dg.build_defs_for_component(component)
    assert definitions.get_repository_def().get_sensor_def("sync_team_prod").minimum_interval_seconds == 300
    assert {spec.key for spec in definitions.resolve_all_asset_specs()} == {KEY}


def test_wrong_source_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(InvalidError, match="write REPO_URL@REF:FOLDER"):
        git_sync("https://git.example.com/team/pipelines.git")
