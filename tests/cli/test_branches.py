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


def test_triggered_branch_is_shown_with_its_conditions(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    made = pachctl.json("create", "branch", "images@release", "-t", "master", "--trigger-size", "1K", "--trigger-commits", "1", "--trigger-all")[0]
    assert made["trigger"] == {"branch": "master", "all": True, "size": "1K", "commits": 1, "rate_limit_spec": "", "cron_spec": ""}
    assert "master on size 1K and 1 commit" in pachctl("list", "branch", "images").out
    assert "Trigger: master on size 1K and 1 commit" in pachctl("inspect", "branch", "images@release").out
    assert pachctl.json("create", "branch", "images@release", "--no-trigger")[0]["trigger"] is None


def test_trigger_that_never_fires_is_noted(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert "note: a trigger without a condition" in pachctl("create", "branch", "images@release", "-t", "master").err
    assert "do not count" in pachctl("create", "branch", "images@release", "-t", "master", "--trigger-cron", "@daily", "--trigger-commits", "2").err


def test_conditions_need_a_trigger(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert "--trigger BRANCH" in pachctl.misuse("create", "branch", "images@release", "--trigger-commits", "2")
    assert "exclude" in pachctl.misuse("create", "branch", "images@release", "-t", "master", "--no-trigger")


def test_both_ends_of_a_trigger_stay_unless_forced(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    pachctl("create", "branch", "images@release", "-t", "master", "--trigger-commits", "2")
    assert pachctl.fail("delete", "branch", "images@master") == "branch-in-use"
    assert pachctl.fail("delete", "branch", "images@release") == "branch-in-use"
    pachctl("delete", "branch", "images@master", "--force")
    assert [branch["trigger"] for branch in pachctl.json("list", "branch", "images")] == [None]


def test_branch_of_a_pipeline_is_not_cut_off_unless_forced(worked: Pachctl) -> None:
    head = worked.json("inspect", "branch", "count@master")[0]["head"]
    answer = worked.run("create", "branch", "count@master", "--head", "master^")
    assert answer.code == "branch-in-use"
    assert "pipeline 'count'" in answer.err
    assert worked.json("inspect", "branch", "count@master")[0]["head"] == head
    kept = worked.json("create", "branch", "count@master", "--head", "master^", "-p", "books@master", "-p", "count.spec@master")[0]
    assert kept["direct_provenance"] == ["books@master", "count.spec@master"]
    assert worked.json("create", "branch", "count@master", "--force")[0]["direct_provenance"] == []


def test_pipeline_whose_output_branch_is_taken_is_stopped(worked: Pachctl) -> None:
    worked("create", "branch", "count@master", "--force")
    assert worked.json("inspect", "pipeline", "count")[0]["state"] == "PAUSED"
    assert worked.json("inspect", "branch", "count.meta@master")[0]["direct_provenance"] == []
    head = worked.put("books@master:/third", "more words")
    assert [commit["repo"] for commit in worked.json("list", "commit", head, "--all")] == ["books"]
    answer = worked.run("fsck", "--deep")
    assert (answer.status, answer.out) == (0, "")
    said = answer.err.splitlines()[-1]
    assert said.endswith(" commits checked, with all content that is in them: no problem")
    # Those of what pipelines keep beside their output too.
    assert int(said.split()[0]) >= len(worked.json("list", "commit", "--all")) > 1
    worked("start", "pipeline", "count")
    worked("wait", "commit", "count@master")
    assert "third" in worked("list", "file", "count@master").out
    assert worked.run("fsck").out == ""


def test_head_of_an_output_branch_moves_with_that_of_the_meta_branch(worked: Pachctl) -> None:
    worked("create", "branch", "count@master", "--head", "master^", "-p", "books@master", "-p", "count.spec@master")
    output, meta = (worked.json("inspect", "branch", f"{repo}@master")[0]["head"] for repo in ("count", "count.meta"))
    assert output == meta
    assert worked.run("fsck").out == ""


def test_branch_that_a_user_fills_in_the_repo_of_a_pipeline_is_no_problem(worked: Pachctl) -> None:
    worked("create", "repo", "images")
    worked.put("images@master:/a", "a")
    worked("create", "branch", "count@other", "-p", "images@master")
    assert worked.run("fsck").out == ""


def test_head_that_was_made_from_another_branch_is_refused(pachctl: Pachctl) -> None:
    for target in ("A@x:/a", "A@y:/a", "B@z:/a"):
        pachctl("create", "repo", target[0]) if target != "A@y:/a" else None
        pachctl.put(target, "1")
    pachctl("create", "repo", "C")
    pachctl("create", "branch", "C@m", "-p", "A@x")
    pachctl("create", "branch", "C@m", "-p", "A@y")
    head = pachctl.json("inspect", "branch", "C@m")[0]["head"]
    answer = pachctl.run("create", "branch", "C@m", "-p", "A@y", "--head", "C@m^")
    assert answer.code == "head-provenance"
    assert "was made from 'A@x'" in answer.err
    assert pachctl.json("inspect", "branch", "C@m")[0]["head"] == head
    pachctl("create", "branch", "C@old", "--head", "C@m^")
    assert pachctl("fsck").out == ""
