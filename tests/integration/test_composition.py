"""Several ways into one Pachyderm project, in one code location: they share its job, its sensor and the branches that they read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from pachyderm_dagster.integration import PachydermPipelines, PachydermWorkspace, commit_automation, pachyderm_assets, pipeline_asset
from pachyderm_dagster.pfs.repos import create_project
from tests.integration.home import QUIET, Home
from tests.integration.test_assets import run_all, spec, tick

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{what}") for what in ("`parse_obj_as` is deprecated", "Accessing `{{automation_condition", ":dagster.BetaWarning")
]

BOOKS, COUNT, SHOUT, BOTH = (dg.AssetKey(["default", name]) for name in ("books", "count", "shout", "both"))


def in_project(*components: tuple[type[dg.Component], Mapping[str, Any], list[dict[str, Any]]]) -> dg.Definitions:
    """The definitions of a `dg` project with these components, each with its attributes and pipelines."""
    with create_defs_folder_sandbox() as sandbox:
        for kind, attributes, pipelines in components:
            path = Path(sandbox.scaffold_component(component_cls=kind))
            (path / "defs.yaml").write_text(yaml.safe_dump({"type": f"{kind.__module__}.{kind.__name__}", "attributes": dict(attributes)}))
            (path / "pipelines.yaml").write_text("\n---\n".join(map(json.dumps, pipelines)))
        with sandbox.build_all_defs() as definitions:
            dg.Definitions.validate_loadable(definitions)
            definitions.get_repository_def().load_all_definitions()
            return definitions


def names(definitions: dg.Definitions) -> tuple[list[str], list[str]]:
    """Those of jobs and sensors."""
    repository = definitions.get_repository_def()
    jobs = [job.name for job in repository.get_all_jobs() if not job.name.startswith("__")]
    return jobs, [sensor.name for sensor in repository.sensor_defs if sensor.name.startswith("commits_")]


def test_two_components_share_job_sensor_and_inputs(home: Home) -> None:
    attributes = {"specs": "pipelines.yaml", "home": str(home.workspace.settings.home)}
    definitions = in_project(
        (PachydermPipelines, attributes | {"translation": {"group_name": "counting"}}, [spec("count", "books")]),
        (PachydermPipelines, attributes | {"own_assets": ["default/count"]}, [spec("shout", "books"), spec("both", "count")]),
    )
    assert names(definitions) == (["pipelines_default"], ["commits_default"])
    graph = definitions.resolve_asset_graph()
    assert graph.get_all_asset_keys() == {BOOKS, COUNT, SHOUT, BOTH}
    assert graph.get(COUNT).group_name == "counting"
    run_all(home, definitions)
    commit = home.commit("books@master", {"/a": "1"})
    (request,) = tick(home, definitions)
    assert set(request.asset_selection or []) == {COUNT, SHOUT, BOTH}
    job = definitions.resolve_job_def("pipelines_default")
    assert job.execute_in_process(instance=home.instance, asset_selection=[COUNT, SHOUT, BOTH], tags=request.tags, run_config=QUIET).success
    assert tick(home, definitions) == []
    assert [home.job(name, commit.id).state.has_output for name in ("count", "shout", "both")] == [True, True, True]


def test_workspace_of_another_project_stands_beside_declared_pipelines(home: Home, monkeypatch: Any) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    home.workspace.database.write(lambda txn: create_project(txn, "lab"))
    home.commit("lab/notes@master", {"/a": "1"})
    own = {"home": str(home.workspace.settings.home)}
    definitions = in_project(
        (PachydermPipelines, own | {"specs": "pipelines.yaml"}, [spec("count", "books")]), (PachydermWorkspace, own | {"projects": ["lab"]}, [])
    )
    assert set(names(definitions)[1]) == {"commits_default", "commits_lab"}


def test_python_and_files_share_job_and_sensor(home: Home, tmp_path: Path) -> None:
    (tmp_path / "count.json").write_text(json.dumps(spec("count", "books")))
    home.commit("books@master", {"/a": "1"})
    shout = pipeline_asset(spec("shout", "books"), environ=home.environ)
    definitions = dg.Definitions.merge(
        pachyderm_assets(tmp_path, environ=home.environ), dg.Definitions(assets=[shout]), commit_automation([shout], environ=home.environ)
    )
    assert names(definitions) == (["pipelines_default"], ["commits_default"])
    run_all(home, definitions)
    assert all(job.state.has_output for name in ("count", "shout") for job in home.jobs(name))


def test_asset_without_automation_of_its_own_is_run_by_that_of_its_project(home: Home, tmp_path: Path) -> None:
    count, shout = (pipeline_asset(spec(name, "books"), environ=home.environ) for name in ("count", "shout"))
    home.commit("books@master", {"/a": "1"})
    definitions = dg.Definitions.merge(dg.Definitions(assets=[count, shout]), commit_automation([count], environ=home.environ))
    run_all(home, definitions)
    assert [job.state.has_output for job in home.jobs("shout")] == [True]


def test_components_may_be_two_files_and_a_cron_pipeline_keeps_its_schedule(home: Home) -> None:
    cron = spec("hourly", "books") | {"input": {"cron": {"name": "tick", "spec": "@hourly"}}}
    attributes = {"specs": "pipelines.yaml", "home": str(home.workspace.settings.home)}
    definitions = in_project((PachydermPipelines, attributes, [cron]), (PachydermPipelines, attributes, [spec("count", "books")]))
    (schedule,) = definitions.get_repository_def().schedule_defs
    assert (schedule.job_name, names(definitions)[0]) == ("pipelines_default", ["pipelines_default"])
