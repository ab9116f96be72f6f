"""Pipelines that a Dagster project declares: what loads, and that the workspace becomes what is declared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration import (
    PachydermIOManager,
    PachydermResource,
    build_definitions,
    commit_automation,
    pachyderm_assets,
    pfs,
    pipeline_asset,
    repo_asset,
)
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline
from tests.integration.home import QUIET, Home

EDGES, MONTAGE, IMAGES = (dg.AssetKey(["default", name]) for name in ("edges", "montage", "images"))


def spec(name: str, repo: str, code: str = "cp /pfs/{repo}/* /pfs/out/") -> dict[str, Any]:
    command = {"cmd": ["sh"], "stdin": [code.format(repo=repo)]}
    return {"pipeline": {"name": name}, "transform": command, "input": {"pfs": {"repo": repo, "glob": "/*"}}, "datum_tries": 1}


def untyped(value: Any) -> Any:
    """What a user gives who asks no type checker."""
    return value


def pipeline(home: Home, name: str) -> Pipeline | None:
    with home.workspace.database.read() as txn:
        return pipelines.find_pipeline(txn, RepoName("default", name))


def tick(home: Home, definitions: dg.Definitions) -> list[dg.RunRequest]:
    """One tick of the sensor, with what the daemon does with its events."""
    repository = definitions.get_repository_def()
    with dg.build_sensor_context(home.instance, cursor=home.cursors.get("declared"), repository_def=repository) as context:
        data = repository.get_sensor_def("commits_default").evaluate_tick(context)
    for event in data.asset_events:
        assert isinstance(event, dg.AssetMaterialization)
        home.instance.report_runless_asset_event(event)
    home.cursors["declared"] = data.cursor
    return list(data.run_requests or [])


def run_all(home: Home, definitions: dg.Definitions) -> None:
    while requests := tick(home, definitions):
        for request in requests:
            job = definitions.resolve_job_def(request.job_name or "")
            result = job.execute_in_process(instance=home.instance, asset_selection=list(request.asset_selection or []), tags=request.tags, run_config=QUIET)
            assert result.success


def test_folder_of_files_loads_without_a_workspace_and_is_made_by_the_sensor(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "pipelines"
    (folder / "more").mkdir(parents=True)
    (folder / "montage.json").write_text(json.dumps(spec("montage", "edges")))
    (folder / "more" / "edges.yaml").write_text(json.dumps(spec("edges", "images")))
    definitions = pachyderm_assets(folder, environ=home.environ)
    graph = definitions.resolve_asset_graph()
    assert graph.executable_asset_keys == {EDGES, MONTAGE}
    assert graph.get(EDGES).parent_keys == {IMAGES}
    assert pipeline(home, "edges") is None
    run_all(home, definitions)
    assert pipeline(home, "edges") is not None and pipeline(home, "montage") is not None
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    assert home.workspace.pfs.inspect_commit("montage@master").size_bytes == 1
    # The first is of the empty inputs.
    assert len(home.materializations("default", "montage")) == 2


def test_what_is_declared_otherwise_becomes_the_next_version_and_nothing_else_does(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "edges.json"
    file.write_text(json.dumps(spec("edges", "images")))
    for _ in range(2):
        tick(home, pachyderm_assets(file, environ=home.environ))
    first = pipeline(home, "edges")
    assert first is not None and first.version == 1
    file.write_text(json.dumps(spec("edges", "images", code="wc -c /pfs/{repo}/* > /pfs/out/count")))
    tick(home, pachyderm_assets(file, environ=home.environ))
    second = pipeline(home, "edges")
    assert second is not None and second.version == 2


def test_code_version_of_a_materialization_is_that_of_the_declared_asset(home: Home) -> None:
    asset = pipeline_asset(spec("edges", "images"), environ=home.environ)
    definitions = dg.Definitions.merge(dg.Definitions(assets=[repo_asset("images"), asset]), commit_automation([asset], environ=home.environ))
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    (made,) = home.materializations("default", "edges")
    assert made.tags is not None and made.tags["dagster/code_version"] == asset.code_versions_by_key[EDGES]
    # The same pipeline, seen by `dev`.
    assert build_definitions(home.environ).resolve_asset_graph().get(EDGES).code_version == asset.code_versions_by_key[EDGES]


def test_pipelines_of_two_makers_run_by_hand_share_one_commit_set(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    edges, montage = (pipeline_asset(spec(*names), environ=home.environ) for names in (("edges", "images"), ("montage", "edges")))
    definitions = dg.Definitions.merge(dg.Definitions(assets=[edges, montage]), commit_automation([edges, montage], environ=home.environ))
    run_all(home, definitions)
    assert definitions.resolve_job_def("pipelines_default").execute_in_process(instance=home.instance, run_config=QUIET).success
    assert home.jobs("edges")[0].id == home.jobs("montage")[0].id


def test_step_makes_its_pipeline_where_no_sensor_did(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    asset = pipeline_asset(spec("edges", "images"), environ=home.environ, pool="gpu")
    assert dg.materialize([asset], instance=home.instance, run_config=QUIET).success
    assert home.workspace.pfs.inspect_commit("edges@master").size_bytes == 1
    assert asset.op.pool == "gpu"


def test_executor_and_resources_of_a_code_location_stay_its_own(tmp_path: Path) -> None:
    (tmp_path / "edges.json").write_text(json.dumps(spec("edges", "images")))

    @dg.asset
    def mine(pachyderm: PachydermResource) -> None: ...

    job = dg.define_asset_job("my_job", [mine])
    own = dg.Definitions(assets=[mine], jobs=[job], executor=dg.multiprocess_executor, resources={"pachyderm": PachydermResource(home="elsewhere")})
    definitions = dg.Definitions.merge(own, pachyderm_assets(tmp_path))
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_job_def("my_job").executor_def.name == "multiprocess"
    assert definitions.resolve_job_def("pipelines_default").executor_def.name == "in_process"


def test_renamed_assets_run_and_tell_by_their_new_keys(home: Home) -> None:
    raw = {key: dg.AssetKey(["raw", *key.path]) for key in (EDGES, IMAGES)}
    asset = pipeline_asset(spec("edges", "images"), environ=home.environ).with_attributes(asset_key_replacements=raw)
    images = repo_asset("images").replace_attributes(key=raw[IMAGES])
    definitions = dg.Definitions.merge(dg.Definitions(assets=[images, asset]), commit_automation([asset], environ=home.environ))
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    head = home.workspace.pfs.inspect_commit("images@master")
    (made,) = home.materializations("raw", "default", "edges")
    assert made.tags is not None and made.tags["dagster/input_data_version/raw/default/images"] == head.id
    assert [event.tags["dagster/data_version"] for event in home.materializations("raw", "default", "images") if event.tags] == [head.id]
    assert not home.materializations("default", "edges") + home.materializations("default", "images")


def test_step_is_what_python_says_with_its_partition_and_pool(home: Home, tmp_path: Path) -> None:
    said = []

    def execute(context: Any, step: Any, workspace: Any, executor: Any) -> Any:
        said.append(step.pipeline.name.name)
        yield from step.run(context, workspace, executor)

    (tmp_path / "edges.json").write_text(json.dumps(spec("edges", "images")))
    home.commit("images@master", {"/a": "1"})
    definitions = pachyderm_assets(tmp_path, environ=home.environ, execute=execute, op={"pool": "gpu", "name": "vision"})
    montage = pipeline_asset(spec("montage", "edges"), environ=home.environ, execute=execute, partition_by="commit")
    assert montage.partitions_def == dg.DynamicPartitionsDefinition(name="pachyderm_commit_sets")
    step = definitions.resolve_assets_def(EDGES).op
    assert (step.pool, step.name) == ("gpu", "vision__default__edges")
    run_all(home, definitions)
    assert said == ["edges"]


def test_pipeline_declared_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(spec("edges", "images")))
    with pytest.raises(InvalidError, match=r"declared in .*a\.json and in .*b\.json"):
        pachyderm_assets(tmp_path)


def test_missing_file_and_bad_field_are_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        pachyderm_assets(tmp_path / "nowhere")
    (tmp_path / "bad.yaml").write_text("pipeline: {name: a}\nglobs: 1\n")
    with pytest.raises(InvalidError, match=r"bad\.yaml.*globs"):
        pachyderm_assets(tmp_path)


def test_spout_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "ticks.yaml").write_text("pipeline: {name: ticks}\nspout: {}\ntransform: {cmd: [tick]}\n")
    with pytest.raises(InvalidError, match=r"pipeline 'ticks' is a spout, whose process stays .*`pachctl create pipeline` \[spec-unsupported\]"):
        pachyderm_assets(tmp_path)


def test_other_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "edges.json").write_text(json.dumps(spec("edges", "images")))
    (tmp_path / "defs.yaml").write_text("type: pachyderm_dagster.integration.PachydermPipelines\n")
    assert pachyderm_assets(tmp_path).resolve_asset_graph().executable_asset_keys == {EDGES}


@pytest.mark.parametrize(
    "field", [{"service": {"internal_port": 80}}, {"transform": {"cmd": ["sh"], "build": {"path": "."}}}], ids=["service", "source folder"]
)
def test_what_a_project_cannot_declare_is_refused_with_the_way_out(field: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"pipeline 'edges' .*make it with `pachctl .*\[spec-unsupported\]"):
        pipeline_asset(spec("edges", "images") | field)


def test_pipelines_that_need_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text(json.dumps([spec("a", "b"), spec("b", "a")]))
    with pytest.raises(InvalidError, match=r"'a' reads 'b', 'b' reads 'a'; let one of them read another repo \[provenance-cycle\]"):
        pachyderm_assets(tmp_path)
    with pytest.raises(InvalidError, match=r"pipeline 'a' would read its own output.* \[provenance-cycle\]"):
        commit_automation([pipeline_asset(spec("a", "a"))])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: repo_asset(untyped(None)), "the name of a branch is None; it is to be a str"),
        (lambda: pfs("books", glob=untyped(5)), "the glob of input 'books' is 5; it is to be a str"),
        (lambda: pipeline_asset(spec("a", "b"), foo=3), "pipeline 'a' is given 'foo', which is no argument of its asset"),
        (lambda: commit_automation([untyped(repo_asset("books"))]), "asset 'default/books' is no pipeline; give what `pipeline_asset` returns"),
        (lambda: commit_automation([untyped(3)]), "an asset is 3; it is to be a AssetsDefinition"),
        (lambda: commit_automation([]), "there are no assets, so nothing would run"),
        (lambda: commit_automation([pipeline_asset(spec("a", "b")), pipeline_asset(spec("a", "c"))]), "pipeline 'a' is among the assets twice"),
    ],
)
def test_mistake_in_python_is_told_with_the_way_out(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        make()
    assert says in str(caught.value)


def test_asset_that_is_no_pipeline_has_no_automation() -> None:
    @dg.asset
    def table() -> None: ...

    with pytest.raises(InvalidError, match="asset 'table' is no pipeline"):
        commit_automation([table])


def test_branch_that_the_projects_own_asset_writes_is_that_asset(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "edges.json"
    file.write_text(json.dumps(spec("edges", "images")))

    @dg.asset(key=IMAGES)
    def images() -> dict[str, bytes]:
        return {"a": b"1"}

    io_manager = PachydermIOManager(home=home.environ["PACHYDERM_HOME"])
    declared = pachyderm_assets(file, environ=home.environ, own_assets=["default/images"])
    definitions = dg.Definitions.merge(declared, dg.Definitions(assets=[images], resources={"io_manager": io_manager}))
    assert definitions.resolve_asset_graph().executable_asset_keys == {EDGES, IMAGES}
    run_all(home, definitions)
    job = definitions.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=home.instance, asset_selection=[IMAGES], run_config=QUIET).success
    run_all(home, definitions)
    head = home.workspace.pfs.inspect_commit("images@master")
    assert (home.materializations("default", "edges")[0].tags or {})["dagster/input_data_version/default/images"] == head.id
    assert len([event for event in home.materializations("default", "images") if (event.tags or {})["dagster/data_version"] == head.id]) == 1


def test_own_asset_that_no_pipeline_reads_is_refused(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "edges.json"
    file.write_text(json.dumps(spec("edges", "images")))
    with pytest.raises(InvalidError, match="'default/cars' is no branch that a pipeline reads; those are 'default/images'"):
        pachyderm_assets(file, environ=home.environ, own_assets=["default/cars"])
