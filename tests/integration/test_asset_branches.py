"""Asset keys as branches, partitions as folders."""

import unicodedata

import dagster as dg
import hypothesis.strategies as st
import pytest
from hypothesis import given

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.asset_branches import AssetStorage, branch_of_key, output_id, partition_folder
from pachyderm_dagster.integration.translator import branch_key
from pachyderm_dagster.pfs.model import BranchName, RepoName, is_commit_id
from pachyderm_dagster.pfs.paths import clean_path

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
CLEAN = dg.AssetKey(["default", "clean"])


def branch(project: str, repo: str, name: str = "master") -> BranchName:
    return BranchName(RepoName(project, repo), name)


@given(NAMES, NAMES, NAMES)
def test_key_of_a_branch_names_that_branch(project: str, repo: str, name: str) -> None:
    assert branch_of_key(branch_key(branch(project, repo, name)), project="other") == branch(project, repo, name)


def test_key_of_one_part_is_a_repo_of_the_io_managers_project() -> None:
    assert branch_of_key(dg.AssetKey("clean"), project="team") == branch("team", "clean")


@pytest.mark.parametrize("key", [["a", "b", "c", "d"], ["a.b"], ["default", "clean", "größe"]])
def test_key_that_names_no_branch_is_refused_with_the_way_out(key: list[str]) -> None:
    with pytest.raises(InvalidError, match="`repos: {.*REPO@BRANCH}`") as caught:
        branch_of_key(dg.AssetKey(key), project="default")
    assert caught.value.code == "asset-unmapped"


def test_configuration_goes_before_metadata_and_metadata_before_the_key() -> None:
    metadata = {"pachyderm/repo": dg.MetadataValue.text("team/data"), "pachyderm/branch": "dev"}
    assert AssetStorage().own_branch(CLEAN, metadata) == branch("team", "data", "dev")
    assert AssetStorage(repos={"default/clean": "other@v1"}).own_branch(CLEAN, metadata) == branch("default", "other", "v1")
    assert AssetStorage(repos={"default/clean": "other"}).own_branch(CLEAN, {}) == branch("default", "other")


def test_branches_are_looked_at_as_listed_and_the_own_one_last() -> None:
    own = branch("default", "clean", "release")
    assert AssetStorage(read_branches=("dev", "release")).branches_to_read(own) == [branch("default", "clean", "dev"), own]
    assert AssetStorage(write_branch="dev").branches_to_read(own) == [branch("default", "clean", "dev"), own]
    assert AssetStorage().branches_to_read(own) == [own]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_every_partition_has_a_folder_of_its_own(first: str, second: str) -> None:
    folders = [partition_folder(key) for key in (first, second)]
    assert (folders[0] == folders[1]) == (first == second)
    for folder in folders:
        assert folder == clean_path(folder) and folder.count("/") == 1 and len(folder) > 1


@pytest.mark.parametrize(
    ("key", "folder"), [("2026-01-31", "/2026-01-31"), ("a|b", "/a|b"), ("a/b", "/a%2Fb"), ("..", "/%2E%2E"), ("50%", "/50%25"), ("ä", "/ä"), ("", "/%")]
)
def test_folder_is_the_key_where_it_can_be(key: str, folder: str) -> None:
    assert partition_folder(key) == folder


def test_keys_that_only_look_the_same_differ() -> None:
    composed, apart = "ä", unicodedata.normalize("NFD", "ä")
    assert partition_folder(composed) != partition_folder(apart) == "/a%CC%88"


def test_id_of_an_output_is_a_commits_and_changes_with_everything_but_the_attempt() -> None:
    known = {"run_id": "r", "step_key": "s", "output": "result", "branch": branch("default", "clean"), "partitions": ()}
    changed = [
        known,
        {**known, "run_id": "r2"},
        {**known, "step_key": "s2"},
        {**known, "output": "o"},
        {**known, "branch": branch("default", "clean", "dev")},
        {**known, "partitions": ("p",)},
    ]
    ids = [output_id(**arguments) for arguments in changed]  # type: ignore[arg-type]
    assert len(set(ids)) == len(ids) and all(is_commit_id(id) and id[12] == "4" and id[16] == "8" for id in ids)
    assert output_id(**known) == ids[0]  # type: ignore[arg-type]
