"""Names, groups and descriptions of assets."""

import dagster as dg
import pytest

from pachyderm_dagster.integration import InputBranch, LoadedPipeline, PachydermTranslator
from pachyderm_dagster.integration.translator import branch_key, lasting_identifier, step_names
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec_reading import parse_specs


def pipeline(text: str, name: str = "edges", project: str = "default") -> LoadedPipeline:
    (spec,) = parse_specs(text, source="test")
    return LoadedPipeline(RepoName(project, name), 3, spec)


EDGES = '{"pipeline":{"name":"edges"},"transform":{"cmd":["python3","/edges.py"]},"input":{"pfs":{"repo":"images","glob":"/*"}}}'


@pytest.mark.parametrize(
    ("branch", "path"),
    [
        (BranchName(RepoName("default", "images"), "master"), ["default", "images"]),
        (BranchName(RepoName("default", "images"), "dev"), ["default", "dev", "images"]),
        (BranchName(RepoName("vision", "raw-images"), "master"), ["vision", "raw-images"]),
    ],
)
def test_key_ends_with_the_repo_and_names_other_branches_before_it(branch: BranchName, path: list[str]) -> None:
    assert branch_key(branch) == dg.AssetKey(path)


def test_input_branch_has_its_repos_description_group_and_address() -> None:
    spec = PachydermTranslator().get_asset_spec(InputBranch(BranchName(RepoName("my-vision", "images"), "dev"), "raw images"))
    assert spec.group_name == "my_vision"
    assert spec.description == "raw images"
    assert spec.metadata["dagster/uri"] == "pfs://my-vision/images@dev"
    assert spec.kinds == {"pachyderm", "dataset"}


def test_branch_without_a_description_is_named() -> None:
    spec = PachydermTranslator().get_asset_spec(InputBranch(BranchName(RepoName("default", "images"), "dev"), ""))
    assert spec.description == "Branch dev of repo images."


def test_pipeline_shows_language_version_and_spec() -> None:
    spec = PachydermTranslator().get_asset_spec(pipeline(EDGES))
    assert spec.key == dg.AssetKey(["default", "edges"])
    assert spec.kinds == {"pachyderm", "python"}
    assert spec.description == "Output of pipeline edges, which runs `python3 /edges.py`."
    assert spec.metadata["pachyderm/version"] == 3
    assert spec.metadata["pachyderm/spec"].value["transform"]["cmd"] == ["python3", "/edges.py"]


def test_cron_pipeline_is_marked() -> None:
    ticking = '{"pipeline":{"name":"t"},"transform":{"cmd":["/tick.sh"]},"input":{"cron":{"name":"tick","spec":"@hourly"}}}'
    assert PachydermTranslator().get_asset_spec(pipeline(ticking)).kinds == {"pachyderm", "shell", "cron"}


def test_code_version_changes_with_the_meaning_of_the_spec_and_not_with_its_width() -> None:
    wide = pipeline(EDGES.replace('"transform"', '"parallelism_spec":{"constant":4},"transform"'))
    other = pipeline(EDGES.replace("/edges.py", "/edges2.py"))
    assert pipeline(EDGES).code_version == wide.code_version
    assert pipeline(EDGES).code_version != other.code_version
    assert len(pipeline(EDGES).code_version) == 12


def test_steps_of_names_that_dagster_cannot_tell_apart_are_told_apart() -> None:
    specs = [dg.AssetSpec(dg.AssetKey(["default", name])) for name in ("a-b", "a_b", "c-d")]
    names = step_names(specs)
    assert names[dg.AssetKey(["default", "c-d"])] == "default__c_d"
    assert len(set(names.values())) == 3
    assert all(name.startswith("default__a_b_") for name in (names[specs[0].key], names[specs[1].key]))


def test_sensor_names_stay_whatever_other_projects_there_are() -> None:
    assert lasting_identifier("commits", "default") == "commits_default"
    assert lasting_identifier("commits", "a-b") != lasting_identifier("commits", "a_b")
    assert lasting_identifier("commits", "a-b").startswith("commits_a_b_")
