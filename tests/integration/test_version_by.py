"""What Dagster compares of commits, their ids or what they hold: staleness as Dagster's own resolver tells it."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import (
    PachydermIOManager,
    PachydermPipelines,
    PachydermTranslator,
    build_definitions,
    commit_automation,
    pachyderm_assets,
    pipeline_asset,
    repo_asset,
)
from pachyderm_dagster.integration.data_versions import content_version
from tests.integration.assets import Code
from tests.integration.home import QUIET, Home
from tests.integration.test_assets import EDGES, IMAGES, MONTAGE, run_all, spec, tick


def one_by_one(home: Home, *, images: Any = None, edges: Any = None) -> dg.Definitions:
    """`images`, and the pipelines `edges` and `montage` behind it."""
    made = [
        pipeline_asset(spec("edges", "images", "head -c 1 /pfs/{repo}/* > /pfs/out/first"), version_by=edges, environ=home.environ),
        pipeline_asset(spec("montage", "edges"), environ=home.environ),
    ]
    return dg.Definitions.merge(dg.Definitions(assets=[repo_asset("images", version_by=images), *made]), commit_automation(made, environ=home.environ))


def status(home: Home, definitions: dg.Definitions, key: dg.AssetKey) -> str:
    return CachingStaleStatusResolver(home.instance, definitions.resolve_asset_graph(), LoadingContextForTest(home.instance)).get_status(key).value


def versions(home: Home, name: str) -> list[str]:
    """Data versions, newest first."""
    return [str((event.tags or {})["dagster/data_version"]) for event in home.materializations("default", name)]


def test_commit_that_changes_nothing_is_no_news_by_content_and_news_by_commit(home: Home) -> None:
    by_commit, by_content = one_by_one(home), one_by_one(home, images="content")
    home.commit("images@master", {"/a": "1"})
    run_all(home, by_content)
    assert status(home, by_content, EDGES) == "FRESH"
    home.commit("images@master", {"/a": "1"})
    tick(home, by_content)
    assert len(set(versions(home, "images"))) == 1 and len(versions(home, "images")) == 2
    assert status(home, by_content, EDGES) == "FRESH"
    home.commit("images@master", {"/a": "2"})
    tick(home, by_content)
    assert status(home, by_content, EDGES) == "STALE"
    run_all(home, by_content)
    assert status(home, by_content, EDGES) == "FRESH"
    # The same by commits, from here on.
    home.commit("images@master", {"/a": "2"})
    tick(home, by_commit)
    assert versions(home, "images")[0] == home.workspace.pfs.inspect_commit("images@master").id
    assert status(home, by_commit, EDGES) == "STALE"


def test_every_commit_set_is_run_also_where_content_decides_what_is_stale(home: Home) -> None:
    definitions = one_by_one(home, images="content", edges="content")
    for _ in range(2):
        home.commit("images@master", {"/a": "1"})
        run_all(home, definitions)
    assert len(home.jobs("edges")) == len(home.jobs("montage")) == 2


def test_output_with_the_same_content_makes_nothing_stale(home: Home) -> None:
    definitions = one_by_one(home, edges="content")
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    job = definitions.resolve_job_def("pipelines_default")
    home.commit("images@master", {"/a": "12"})
    tick(home, definitions)
    # The first character is what it was.
    assert job.execute_in_process(instance=home.instance, asset_selection=[EDGES], run_config=QUIET).success
    assert len(versions(home, "edges")) == 2 and len(set(versions(home, "edges"))) == 1
    assert (status(home, definitions, EDGES), status(home, definitions, MONTAGE)) == ("FRESH", "FRESH")
    home.commit("images@master", {"/a": "2"})
    tick(home, definitions)
    assert job.execute_in_process(instance=home.instance, asset_selection=[EDGES], run_config=QUIET).success
    assert status(home, definitions, MONTAGE) == "STALE"


@pytest.mark.parametrize("version_by", ["commit", "content"])
def test_lost_cursor_reports_nothing_twice(home: Home, version_by: str) -> None:
    definitions = one_by_one(home, images=version_by, edges=version_by)
    home.commit("images@master", {"/a": "1"})
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    before = len(versions(home, "images")), len(versions(home, "edges"))
    home.cursors.clear()
    tick(home, definitions)
    assert (len(versions(home, "images")), len(versions(home, "edges"))) == before == (2, 1)


def test_translation_of_an_asset_says_it_too(home: Home) -> None:
    class ByContent(PachydermTranslator):
        def get_asset_spec(self, props: Any) -> dg.AssetSpec:
            return super().get_asset_spec(props).merge_attributes(metadata={"pachyderm/version_by": "content"})

    edges = pipeline_asset(spec("edges", "images"), translator=ByContent(), environ=home.environ)
    definitions = dg.Definitions.merge(dg.Definitions(assets=[edges]), commit_automation([edges], environ=home.environ))
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    assert versions(home, "edges") == [content_version(home.workspace.pfs.inspect_commit("edges@master"))]
    assert versions(home, "edges") != [home.jobs("edges")[0].id]


class Mine(PachydermTranslator):
    """Gives every pipeline a code version that is not its specification's."""

    def get_asset_spec(self, props: Any) -> dg.AssetSpec:
        return super().get_asset_spec(props).replace_attributes(code_version="mine")


def test_code_version_of_a_user_is_kept_in_what_the_sensor_reports(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    definitions = build_definitions(home.environ, translator=Mine())
    run_all(home, definitions)
    assert status(home, definitions, EDGES) == "FRESH"
    home.instance.wipe_assets([EDGES])
    home.cursors.clear()
    tick(home, definitions)
    assert status(home, definitions, EDGES) == "FRESH"


def test_code_version_of_a_user_is_kept_in_what_a_failing_run_reports(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", code="if ls /pfs/images/bad; then exit 1; fi; cp /pfs/images/* /pfs/out/")
    definitions = build_definitions(home.environ, translator=Mine())
    run_all(home, definitions)
    home.commit("images@master", {"/bad": "1"})
    with home.workspace.pfs.modify_file("images@master") as files:
        files.delete("/bad")
    (request,) = tick(home, definitions)
    job = definitions.resolve_job_def("pipelines_default")
    assert not job.execute_in_process(instance=home.instance, tags=request.tags, run_config=QUIET, raise_on_error=False).success
    newest = home.materializations("default", "edges")[0].tags or {}
    assert (newest["dagster/data_version"], newest["dagster/code_version"]) == (files.commit.id, "mine")


def test_option_counts_for_all_assets_of_files_and_of_a_component(home: Home, tmp_path: Path) -> None:
    (tmp_path / "edges.json").write_text(json.dumps(spec("edges", "images")))
    definitions = pachyderm_assets(tmp_path, version_by="content", environ=home.environ)
    home.commit("images@master", {"/a": "1"})
    run_all(home, definitions)
    assert versions(home, "images") != [home.workspace.pfs.inspect_commit("images@master").id]
    built = dg.build_defs_for_component(PachydermPipelines(specs=str(tmp_path), version_by="content"))
    assert {key: built.resolve_asset_graph().get(key).metadata["pachyderm/version_by"] for key in (IMAGES, EDGES)} == dict.fromkeys((IMAGES, EDGES), "content")


def test_other_words_are_refused() -> None:
    with pytest.raises(InvalidError, match="asset-invalid"):
        repo_asset("images", version_by="contents")  # type: ignore[arg-type]


def test_asset_of_plain_python_reads_a_branch_by_content(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    images = repo_asset("images", version_by="content")

    @dg.asset(key=["default", "report"], ins={"images": dg.AssetIn(["default", "images"])})
    def report(images: dict[str, bytes]) -> str:
        return str(sorted(images))

    definitions = dg.Definitions(assets=[images, report], resources={"io_manager": PachydermIOManager(home=home.environ["PACHYDERM_HOME"])})
    job = definitions.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=home.instance, run_config=QUIET).success
    (version,) = versions(home, "images")
    assert version != home.workspace.pfs.inspect_commit("images@master").id
    assert status(home, definitions, dg.AssetKey(["default", "report"])) == "FRESH"


def test_commits_of_an_asset_by_content_are_found_by_their_run_however_many_there_are(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))

    @dg.asset(key=["default", "total"])
    def total() -> int:
        return next(numbers)

    code = Code(home, total, version_by="content")
    for _ in range(6):
        assert code.run("default/total").success

    def fetch(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the history of the asset is searched")

    monkeypatch.setattr(dg.DagsterInstance, "fetch_materializations", fetch)
    assert tick(home, code.definitions) == []
    monkeypatch.undo()
    assert len(set(versions(home, "total"))) == 6
