import pytest

from tests.cli.pachctl import Pachctl


@pytest.fixture
def images(pachctl: Pachctl) -> Pachctl:
    """A repo with two commits on master."""
    pachctl("create", "repo", "images")
    pachctl.put("images@master:/a", "1")
    pachctl.put("images@master:/b", "2")
    return pachctl


def test_branch_is_made_at_an_ancestor(images: Pachctl) -> None:
    first, second = [commit["id"] for commit in images.json("list", "commit", "images")][::-1]
    assert images("create", "branch", "images@release", "--head", "master^").out == ""
    assert [(branch["name"], branch["head"]) for branch in images.json("list", "branch", "images")] == [("master", second), ("release", first)]
    assert first in images("list", "branch", "images").out
    assert f"Head: {first}" in images("inspect", "branch", "images@release").out


def test_branch_document_names_what_it_is_made_from(worked: Pachctl) -> None:
    branch = worked("inspect", "branch", "count@master", "-o", "json").document
    assert (branch["repo"], branch["name"], branch["trigger"]) == ("count", "master", None)
    assert branch["direct_provenance"] == ["books@master", "count.spec@master"]


def test_branch_moves_to_another_head(images: Pachctl) -> None:
    images("create", "branch", "images@release", "--head", "images@master")
    images("create", "branch", "images@release", "--head", "master.1")
    assert [file["path"] for file in images.json("list", "file", "images@release")] == ["/a"]


def test_branch_in_a_missing_repo_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("create", "branch", "images@release") == "repo-not-found"
    assert pachctl.fail("list", "branch", "images") == "repo-not-found"


def test_branch_that_looks_like_an_id_is_refused(images: Pachctl) -> None:
    assert images.fail("create", "branch", "images@" + "a" * 32) == "reference-invalid"


def test_cycle_of_branches_is_refused(images: Pachctl) -> None:
    images("create", "repo", "other")
    images("create", "branch", "other@master", "-p", "images@master")
    assert images.fail("create", "branch", "images@master", "-p", "other@master") == "provenance-cycle"


def test_head_of_another_repo_is_refused(images: Pachctl) -> None:
    images("create", "repo", "other")
    assert images.fail("create", "branch", "other@master", "--head", "images@master") == "head-invalid"


def test_deleted_branch_leaves_its_commits(images: Pachctl) -> None:
    images("delete", "branch", "images@master")
    assert images.fail("inspect", "branch", "images@master") == "branch-not-found"
    assert [commit["branch"] for commit in images.json("list", "commit", "images")] == [None, None]


def test_branch_that_a_pipeline_reads_stays(worked: Pachctl) -> None:
    assert worked.fail("delete", "branch", "books@master") == "branch-in-use"


def test_branch_without_a_name_is_refused(images: Pachctl) -> None:
    assert images.fail("inspect", "branch", "images") == "reference-invalid"


def test_short_commit_is_looked_up_in_the_repo_of_the_branch(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    pachctl("create", "repo", "images")
    first = pachctl.put("images@master:/a", "1")
    pachctl.put("images@master:/b", "2")
    pachctl("create", "branch", "default/images@release", "--head", "master^", "--project", "vision")
    assert pachctl("inspect", "branch", "images@release", "-o", "json").document["head"] == first
