"""A workspace as Dagster definitions."""

import dagster as dg

from pachyderm_dagster.integration import InputBranch, LoadedPipeline, PachydermTranslator, build_definitions
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import BranchName, RepoName
from tests.integration.home import Home


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_empty_home_has_a_sensor_and_no_assets(home: Home) -> None:
    definitions = home.definitions()
    assert specs(definitions) == {}
    assert [sensor.name for sensor in definitions.sensors or []] == ["commits_default"]


def test_branches_are_external_and_pipelines_depend_on_what_they_read(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.commit("images@dev", {"/b": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges", "images")
    graph = home.definitions().resolve_asset_graph()
    assert graph.executable_asset_keys == {dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "montage"])}
    assert graph.get(dg.AssetKey(["default", "montage"])).parent_keys == {dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "images"])}
    assert graph.has(dg.AssetKey(["default", "dev", "images"]))


def test_pipelines_carry_version_and_check_and_run_in_one_process(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    definitions = home.definitions()
    found = specs(definitions)["default/edges"]
    assert found.code_version is not None and found.metadata["pachyderm/version"] == 1
    assert [key.name for key in definitions.resolve_asset_graph().asset_check_keys] == ["job"]
    assert definitions.resolve_job_def("pipelines_default").executor_def.name == "in_process"


def test_names_that_dagster_reserves_load(home: Home) -> None:
    names = ("input", "class", "1st", "context", "a-b", "config")
    home.commit("images@master", {"/a": "1"})
    for name in names:
        home.pipeline(name, "images")
    definitions = home.definitions()
    assert {f"default/{name}" for name in names} <= specs(definitions).keys()
    definitions.get_repository_def().load_all_definitions()


def test_names_that_differ_only_in_dashes_load_together(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    for name in ("a-b", "a_b"):
        home.pipeline(name, "images")
    home.pipeline("both", "a-b", "a_b")
    assert {"default/a-b", "default/a_b", "default/both"} <= specs(home.definitions()).keys()
    home.definitions().get_repository_def().load_all_definitions()


def test_each_project_has_its_own_job_and_sensor(home: Home) -> None:
    home.workspace.database.write(lambda txn: repos.create_project(txn, "vision"))
    home.commit("vision/images@master", {"/a": "1"})
    home.pipeline("edges", "images", project="vision")
    definitions = home.definitions()
    assert {sensor.name for sensor in definitions.sensors or []} == {"commits_default", "commits_vision"}
    assert definitions.resolve_job_def("pipelines_vision") is not None
    assert specs(definitions)["vision/edges"].group_name == "vision"


def test_translator_is_the_one_place_that_names_assets(home: Home) -> None:
    class Renamed(PachydermTranslator):
        def get_asset_spec(self, props: InputBranch | LoadedPipeline) -> dg.AssetSpec:
            spec = super().get_asset_spec(props)
            return spec.replace_attributes(key=spec.key.with_prefix("pach"))

    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    graph = build_definitions(home.environ, translator=Renamed()).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["pach", "default", "edges"])).parent_keys == {dg.AssetKey(["pach", "default", "images"])}


def test_snapshot_changes_with_pipelines_and_not_with_jobs(home: Home) -> None:
    def look() -> object:
        with home.workspace.database.read() as txn:
            return read_snapshot(txn)

    empty = look()
    home.commit("images@master", {"/a": "1"})
    with_repo = look()
    assert with_repo != empty
    home.pipeline("edges", "images")
    with_pipeline = look()
    assert with_pipeline != with_repo
    home.commit("images@master", {"/b": "1"})
    home.run_all()
    assert look() == with_pipeline
    home.pipeline("edges", "images", update=True)
    assert look() != with_pipeline


def test_snapshot_holds_outputs_as_pipelines_and_everything_else_as_branches(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.workspace.pfs.create_repo("untouched")
    home.pipeline("edges", "images", output_branch="out")
    with home.workspace.database.read() as txn:
        snapshot = read_snapshot(txn)
    assert [branch.name for branch in snapshot.branches] == [BranchName(RepoName("default", "images"), "master")]
    assert [pipeline.output for pipeline in snapshot.pipelines] == [BranchName(RepoName("default", "edges"), "out")]


def test_pipeline_depends_on_all_that_its_joins_and_groups_read(home: Home) -> None:
    for repo in ("a", "b", "c", "d"):
        home.commit(f"{repo}@master", {"/1": "1"})
    key = {"glob": "/(*)", "join_on": "$1", "group_by": "$1"}
    joined = {"join": [{"pfs": {"repo": "a", **key}}, {"group": [{"pfs": {"repo": "b", **key}}, {"pfs": {"repo": "c", **key}}]}]}
    triggered = {"pfs": {"repo": "d", "glob": "/", "trigger": {"commits": 1}}}
    home.pipeline("p", "a", input={"cross": [joined, triggered, {"cron": {"name": "tick", "spec": "@daily"}}]}, code="true")
    graph = home.definitions().resolve_asset_graph()
    upstream = {"/".join(key.path) for key in graph.get(dg.AssetKey(["default", "p"])).parent_keys}
    assert upstream == {"default/a", "default/b", "default/c", "default/p-trigger-1/d", "default/p_tick"}
    assert upstream <= {"/".join(key.path) for key in graph.get_all_asset_keys()}


def test_set_with_a_grouped_input_runs_in_dagster_and_a_reference_is_read_and_skipped(home: Home) -> None:
    home.commit("a@master", {"/1x": "1", "/1y": "2"})
    home.commit("b@master", {"/1": "old"})
    grouped = {"group": [{"pfs": {"repo": "a", "glob": "/(?)*", "group_by": "$1"}}]}
    home.pipeline("p", "a", input={"cross": [grouped, {"pfs": {"repo": "b", "glob": "/", "reference": True}}]})
    home.run_all()
    home.commit("b@master", {"/1": "new"})
    home.run_all()
    newest, first = home.jobs("p")
    assert (first.counters.data_processed, newest.counters.data_skipped) == (1, 1)
    assert len(home.materializations("default", "p")) == 2
