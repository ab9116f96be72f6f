"""What an asset says of its code and of its columns, and that Dagster's own tools work with it."""

import inspect
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import LoadedPipeline, PachydermTranslator, commit_automation, pachyderm_assets, pipeline_asset
from pachyderm_dagster.integration.translator import AssetProps
from tests.integration.home import Home
from tests.integration.test_assets import EDGES, run_all, spec


def references(assets: Any) -> list[tuple[str, int | None]]:
    """File and line of each."""
    (metadata,) = [dict(assets.metadata_by_key[key]) for key in assets.keys if key == EDGES]
    return [(one.file_path, one.line_number) for one in metadata["dagster/code_references"].code_references]


def edges_of(definitions: dg.Definitions) -> dg.AssetsDefinition:
    return definitions.resolve_assets_def(EDGES)


def test_asset_of_a_file_refers_to_its_line_and_to_the_script_that_it_runs(tmp_path: Path) -> None:
    script = tmp_path / "edges.py"
    script.touch()
    file = tmp_path / "all.yaml"
    code = {"cmd": ["python3", str(script), "-v", "/nowhere/at.all"]}
    file.write_text(f"{json.dumps(spec('edges-2', 'images'))}\n---\n{json.dumps({**spec('edges', 'images'), 'transform': code}, indent=1)}\n")
    assert references(edges_of(pachyderm_assets(file))) == [(str(file), 5), (str(script), None)]


def test_script_is_found_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "edges.sh").touch()
    asset = pipeline_asset({**spec("edges", "images"), "transform": {"cmd": ["sh", "edges.sh"], "working_dir": str(tmp_path)}})
    assert references(asset)[1:] == [(str(tmp_path / "edges.sh"), None)]


def test_asset_made_in_python_refers_to_the_line_that_made_it() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    asset = pipeline_asset(spec("edges", "images"))
    assert references(asset) == [(str(Path(__file__).resolve()), frame.f_lineno - 1)]


def test_references_become_links_to_a_repository(tmp_path: Path) -> None:
    file = tmp_path / "pipelines" / "edges.json"
    file.parent.mkdir()
    file.write_text(json.dumps(spec("edges", "images")))
    with pytest.warns(dg.BetaWarning):
        mapping = dg.AnchorBasedFilePathMapping(tmp_path / "pyproject.toml", "project/pyproject.toml")
    with pytest.warns(dg.BetaWarning):
        (linked,) = dg.link_code_references_to_git([edges_of(pachyderm_assets(file))], "https://github.com/org/repo", "main", mapping)
    assert isinstance(linked, dg.AssetsDefinition)
    (found,) = linked.metadata_by_key[EDGES]["dagster/code_references"].code_references
    assert found.url == "https://github.com/org/repo/tree/main/project/pipelines/edges.json#L1"


class WithLineage(PachydermTranslator):
    def __init__(self, lineage: object) -> None:
        self.lineage = lineage

    def get_asset_spec(self, props: AssetProps) -> dg.AssetSpec:
        found = super().get_asset_spec(props)
        return found.merge_attributes(metadata={"dagster/column_lineage": self.lineage}) if isinstance(props, LoadedPipeline) else found


@pytest.mark.parametrize(
    "declared",
    [
        {"total": {"default/images": ["price", "count"]}, "name": {"default/images": "name"}},
        dg.TableColumnLineage(
            {
                "total": [dg.TableColumnDep(dg.AssetKey(["default", "images"]), "price"), dg.TableColumnDep(dg.AssetKey(["default", "images"]), "count")],
                "name": [dg.TableColumnDep(dg.AssetKey(["default", "images"]), "name")],
            }
        ),
    ],
)
def test_declared_lineage_of_columns_is_in_each_materialization(home: Home, declared: object) -> None:
    asset = pipeline_asset(spec("edges", "images"), environ=home.environ, translator=WithLineage(declared))
    home.commit("images@master", {"/cars.csv": "name,total\nfiat,3\n"})
    run_all(home, dg.Definitions.merge(dg.Definitions(assets=[asset]), commit_automation([asset], environ=home.environ)))
    (event,) = home.materializations("default", "edges")
    lineage = event.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    read = {column: sorted((dep.asset_key.to_user_string(), dep.column_name) for dep in deps) for column, deps in lineage.column_lineage.deps_by_column.items()}
    assert read == {"total": [("default/images", "count"), ("default/images", "price")], "name": [("default/images", "name")]}
    assert event.metadata["dagster/row_count"].value == 1
    assert "pachyderm/column_lineage_warning" not in event.metadata


def test_declared_lineage_of_columns_that_the_output_lacks_is_a_warning_and_no_failure(home: Home) -> None:
    declared = {"sum": {"default/images": "price"}, "name": {"default/images": "name"}}
    asset = pipeline_asset(spec("edges", "images"), environ=home.environ, translator=WithLineage(declared))
    home.commit("images@master", {"/cars.csv": "name,total\nfiat,3\n"})
    run_all(home, dg.Definitions.merge(dg.Definitions(assets=[asset]), commit_automation([asset], environ=home.environ)))
    (event,) = home.materializations("default", "edges")
    said = "the declared lineage is of 'sum', and the output has no such column; its columns: 'name', 'total'; mend 'dagster/column_lineage' of the asset"
    assert event.metadata["pachyderm/column_lineage_warning"].value == said


@pytest.mark.parametrize("declared", ["price", {"total": "price"}, {"total": {"default/images": 3}}])
def test_lineage_that_cannot_be_read_is_refused(declared: object) -> None:
    with pytest.raises(InvalidError, match="asset-invalid"):
        pipeline_asset(spec("edges", "images"), translator=WithLineage(declared))
