import json

import pytest

from pachyderm_dagster.pfs.model import is_commit_id
from tests.cli.pachctl import Pachctl, process


@pytest.fixture
def images(pachctl: Pachctl) -> Pachctl:
    """An empty repo."""
    pachctl("create", "repo", "images")
    return pachctl


def test_start_prints_the_id_alone(images: Pachctl) -> None:
    started = images("start", "commit", "images@master").out
    assert is_commit_id(started.removesuffix("\n"))
    assert images("inspect", "commit", f"images@{started.strip()}", "-o", "json").document["finished"] is None


def test_files_of_an_open_commit_are_finished_together(images: Pachctl) -> None:
    started = images("start", "commit", "images@master", "-m", "first").out.strip()
    images.put("images@master:/a", "1")
    images.put(f"images@{started}:/b", "22")
    assert images("finish", "commit", "images@master").out == ""
    (commit,) = images.json("list", "commit", "images")
    assert (commit["id"], commit["description"], commit["origin"], commit["branch"], commit["size_bytes"]) == (started, "first", "USER", "master", 3)
    assert commit["finished"] is not None


def test_second_finish_is_refused(images: Pachctl) -> None:
    images.put("images@master:/a", "1")
    assert images.fail("finish", "commit", "images@master") == "commit-finished"


def test_second_start_on_an_open_branch_is_refused(images: Pachctl) -> None:
    images("start", "commit", "images@master")
    assert images.fail("start", "commit", "images@master") == "commit-open"


def test_start_without_a_branch_is_refused(images: Pachctl) -> None:
    assert images.fail("start", "commit", "images") == "reference-invalid"
    assert images.fail("start", "commit", "nothing@master") == "repo-not-found"


def test_parent_forks(images: Pachctl) -> None:
    first = images.put("images@master:/a", "1")
    images.put("images@master:/b", "2")
    images("start", "commit", "images@dev", "--parent", "master^")
    images("finish", "commit", "images@dev")
    assert images("inspect", "commit", "images@dev", "-o", "json").document["parent"] == first


def test_commit_finished_with_an_error_is_not_built_on(images: Pachctl) -> None:
    images("start", "commit", "images@master")
    images.put("images@master:/a", "1")
    images("finish", "commit", "images@master", "--error", "wrong photos")
    images.put("images@master:/b", "2")
    assert images("inspect", "commit", "images@master^", "-o", "json").document["error"] == "wrong photos"
    assert [file["path"] for file in images.json("list", "file", "images@master")] == ["/b"]


def test_commit_of_a_pipeline_cannot_be_started_or_finished(worked: Pachctl) -> None:
    assert worked.fail("start", "commit", "count@master") == "output-branch"
    worked.put("books@master:/new", "words")
    assert worked.fail("finish", "commit", "count@master") == "output-branch"


def test_history_is_listed_newest_first(images: Pachctl) -> None:
    ids = [images.put(f"images@master:/{name}", name) for name in "abcd"]
    assert [commit["id"] for commit in images.json("list", "commit", "images")] == ids[::-1]
    assert [commit["id"] for commit in images.json("list", "commit", "images@master", "-n", "2")] == ids[:1:-1]
    assert [commit["id"] for commit in images.json("list", "commit", "images@master^")] == ids[2::-1]
    assert [commit["id"] for commit in images.json("list", "commit", "images", "--from", "master.2")] == ids[:1:-1]
    assert ids[3] in images("list", "commit", "images").out


def test_from_needs_a_repo(pachctl: Pachctl) -> None:
    assert "--from" in pachctl.misuse("list", "commit", "--from", "master")


def test_ancestor_past_the_root_is_refused(images: Pachctl) -> None:
    images.put("images@master:/a", "1")
    assert images.fail("inspect", "commit", "images@master^2") == "commit-not-found"
    assert images.fail("inspect", "commit", "images@dev") == "branch-not-found"


def test_people_see_sets_and_programs_commits(worked: Pachctl) -> None:
    newest = worked("inspect", "commit", "books@master", "-o", "json").document["id"]
    heading, first, *_ = worked("list", "commit").out.splitlines()
    assert heading.split() == ["ID", "SUBCOMMITS", "PROGRESS", "CREATED", "MODIFIED"]
    assert first.split()[:5] == [newest, "3", "3", "/", "3"]
    assert len(worked("list", "commit", "-n", "1").out.splitlines()) == 2
    assert {commit["repo"] for commit in worked.json("list", "commit")} == {"books", "count", "loud"}
    assert worked("list", "commit", "-x").out.splitlines()[0].split()[:4] == ["PROJECT", "REPO", "BRANCH", "COMMIT"]


def test_set_is_listed_by_its_id(worked: Pachctl) -> None:
    newest = worked("inspect", "commit", "books@master", "-o", "json").document["id"]
    assert {(commit["repo"], commit["id"]) for commit in worked.json("list", "commit", newest)} == {("books", newest), ("count", newest), ("loud", newest)}
    assert {commit["repo"] for commit in worked.json("list", "commit", newest, "--all")} == {"books", "count", "loud", "count.meta", "loud.meta"}
    assert worked.fail("list", "commit", "a" * 32) == "commit-set-not-found"


def test_set_is_inspected_with_what_it_used(worked: Pachctl) -> None:
    books = worked("inspect", "commit", "books@master", "-o", "json").document["id"]
    made = worked("rerun", "pipeline", "count", "-o", "json").document
    assert made["name"] == "count"
    rerun = worked("inspect", "commit", "count@master", "-o", "json").document["id"]
    assert {(commit["repo"], commit["id"]) for commit in worked.json("inspect", "commit", rerun)} == {("count", rerun), ("loud", rerun), ("books", books)}


def test_commits_are_chosen_by_origin(worked: Pachctl) -> None:
    assert {commit["repo"] for commit in worked.json("list", "commit", "--origin", "user")} == {"books"}
    assert all(commit["origin"] == "AUTO" for commit in worked.json("list", "commit", "--origin", "AUTO"))


def test_provenance_names_commits(worked: Pachctl) -> None:
    books = worked("inspect", "commit", "books@master", "-o", "json").document["id"]
    commit = worked("inspect", "commit", "count@master", "-o", "json").document
    assert f"books@{books}" in commit["direct_provenance"]
    assert f"books@{books}" in worked("inspect", "commit", "count@master").out


def test_subscription_begins_with_the_oldest_and_ends_after_a_number(images: Pachctl) -> None:
    ids = [images.put(f"images@master:/{name}", name) for name in "abc"]
    assert [commit["id"] for commit in images.json("subscribe", "commit", "images@master", "-n", "3")] == ids
    assert [commit["id"] for commit in images.json("subscribe", "commit", "images", "--from", "master^", "-n", "1")] == ids[2:]
    assert ids[0] in images("subscribe", "commit", "images@master", "-n", "1").out


def test_subscription_to_what_is_new_waits_for_it(images: Pachctl) -> None:
    images.put("images@master:/a", "1")
    with process("subscribe", "commit", "images@master", "--new", "-n", "1", "-o", "json") as subscription:
        assert subscription.stderr is not None
        assert "waiting" in subscription.stderr.readline()
        second = images.put("images@master:/b", "2")
        printed, _ = subscription.communicate()
    assert [json.loads(line)["id"] for line in printed.splitlines()] == [second]


def test_subscription_to_a_missing_repo_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("subscribe", "commit", "images@master") == "repo-not-found"


def test_squashed_commit_leaves_its_files(images: Pachctl) -> None:
    first, second = images.put("images@master:/a", "1"), images.put("images@master:/b", "2")
    assert [commit["id"] for commit in images.json("squash", "commit", "images@master^")] == [first]
    assert [commit["id"] for commit in images.json("list", "commit", "images")] == [second]
    assert [file["path"] for file in images.json("list", "file", "images@master")] == ["/a", "/b"]
    assert images.fail("squash", "commit", second) == "commit-without-children"


def test_deleted_commit_takes_its_files_along(images: Pachctl) -> None:
    first, second = images.put("images@master:/a", "1"), images.put("images@master:/b", "2")
    assert images.fail("delete", "commit", first) == "commit-has-children"
    images("delete", "commit", second)
    assert [file["path"] for file in images.json("list", "file", "images@master")] == ["/a"]
    images("delete", "commitV2", "images@master")
    assert images.json("list", "file", "images@master") == []


def test_recursion_is_for_one_commit(images: Pachctl) -> None:
    assert "whole set" in images.misuse("delete", "commit", "-r", images.put("images@master:/a", "1"))


def test_deleted_input_takes_its_outputs_along(worked: Pachctl) -> None:
    newest = worked.json("inspect", "commit", "books@master")[0]["id"]
    assert worked.fail("delete", "commit", "books@master") == "commit-in-use"
    removed = worked.json("delete", "commit", "books@master", "-r")
    assert {commit["repo"] for commit in removed} == {"books", "count", "count.meta", "loud", "loud.meta"}
    assert newest not in {job["id"] for job in worked.json("list", "job")}


def test_forgotten_output_is_read_no_more(worked: Pachctl) -> None:
    worked("forget", "commit", "count@master^")
    assert worked.fail("list", "file", "count@master^") == "commit-forgotten"
    assert worked.fail("forget", "commit", "count@master") == "commit-in-use"
    assert worked.fail("forget", "commit", "books@master^") == "not-an-output"


def test_cleared_commit_is_empty_and_open(images: Pachctl) -> None:
    images("start", "commit", "images@master")
    images.put("images@master:/a", "1")
    assert images.json("clear", "commit", "images@master")[0]["finished"] is None
    assert images.json("list", "file", "images@master") == []


def test_commits_that_changed_a_file_are_found(images: Pachctl) -> None:
    added, _, changed = (images.put(f"images@master:{path}", text) for path, text in (("/a", "1"), ("/b", "1"), ("/a", "2")))
    images("delete", "file", "images@master:/a")
    found = images.json("find", "commit", "images@master:/a")
    assert [change["op"] for change in found] == ["deleted", "changed", "added"]
    assert [change["id"] for change in found[1:]] == [changed, added]
    assert [change["op"] for change in images("find", "commit", "images@master:/a", "--json", "--limit", "1").documents] == ["deleted"]
    assert images.fail("find", "commit", "images@master") == "path-missing"


def test_forks_are_drawn(images: Pachctl) -> None:
    first, second = images.put("images@master:/a", "1"), images.put("images@master:/b", "2")
    images("create", "branch", "images@fork", "--head", first)
    third = images.put("images@fork:/c", "3")
    lines = images("draw", "commit", "images").out.splitlines()
    assert [line.partition(" (")[0].partition(" 1B")[0] for line in lines] == [f"* {third}", f"| * {second}", "|/", f"* {first}"]
    assert "(fork)" in lines[0] and "(master)" in lines[1]
    assert images("list", "commit", "images", "--graph").out.splitlines() == lines


def test_history_is_listed_from_the_oldest(images: Pachctl) -> None:
    made = [images.put("images@master:/a", text) for text in "123"]
    assert [commit["id"] for commit in images.json("list", "commit", "images", "--reverse", "-n", "2")] == made[:2]


def test_set_is_shown_with_what_it_was_made_from_first(worked: Pachctl) -> None:
    newest = worked.json("inspect", "commit", "books@master")[0]["id"]
    assert [commit["repo"] for commit in worked.json("inspect", "commit", newest)] == ["books", "count", "loud"]


def test_provenance_is_walked_both_ways(worked: Pachctl) -> None:
    assert [commit["repo"] for commit in worked.json("walk", "provenance", "loud@master")] == ["count", "books"]
    assert [commit["repo"] for commit in worked.json("walk", "provenance", "loud@master", "--depth", "1")] == ["count"]
    assert {commit["repo"] for commit in worked.json("walk", "subvenance", "books@master", "--all")} == {"count", "count.meta", "loud", "loud.meta"}
    assert [branch["repo"] for branch in worked.json("walk", "subvenance", "books@master", "--branches")] == ["count", "loud"]
