"""Pachyderm 1.x's commands do what today's do."""

import json
from pathlib import Path

from tests.cli.conftest import COUNT
from tests.cli.pachctl import Pachctl


def test_repos(pachctl: Pachctl) -> None:
    pachctl("create-repo", "images", "-d", "photos")
    assert pachctl("list-repo", "--raw").document["name"] == "images"
    pachctl("update-repo", "images", "-d", "cropped")
    assert pachctl("inspect-repo", "images", "--raw").document["description"] == "cropped"
    pachctl("delete-repo", "images")
    assert pachctl("list-repo", "--raw").documents == []
    assert pachctl.fail("inspect-repo", "images") == "repo-not-found"


def test_commits_and_branches(pachctl: Pachctl) -> None:
    pachctl("create-repo", "images")
    started = pachctl("start-commit", "images", "master").out.strip()
    assert pachctl("inspect-commit", "images", started, "--raw").document["finished"] is None
    pachctl("finish-commit", "images", started)
    assert [commit["id"] for commit in pachctl("list-commit", "images", "--raw").documents] == [started]
    pachctl("set-branch", "images", started, "release")
    pachctl("create-branch", "images", "dev", "--head", "master")
    assert [(branch["name"], branch["head"]) for branch in pachctl("list-branch", "images", "--raw").documents] == [
        ("master", started),
        ("release", started),
        ("dev", started),
    ]
    pachctl("delete-branch", "images", "dev")
    assert len(pachctl("list-branch", "images", "--raw").documents) == 2
    assert pachctl("subscribe-commit", "images", "master", "-n", "1", "--raw").document["id"] == started


def test_commit_without_a_branch_is_on_master(pachctl: Pachctl) -> None:
    pachctl("create-repo", "images")
    pachctl("start-commit", "images")
    assert pachctl("list-branch", "images", "--raw").document["name"] == "master"


def test_put_file_appends_unless_told(pachctl: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    pachctl("create-repo", "data")
    pachctl("put-file", "data", "master", "a", "-f", str(tmp_path / "a"))
    pachctl("put-file", "data", "master", "-f", str(tmp_path / "a"))
    assert pachctl("get-file", "data", "master", "/a").out == "11"
    pachctl("put-file", "data", "master", "a", "-o", "-f", str(tmp_path / "a"))
    assert pachctl("get-file", "data", "master", "/a").out == "1"


def test_put_file_splits_behind_the_parts_that_are_there_unless_told(pachctl: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n2\n")
    pachctl("create-repo", "data")
    split = ("put-file", "data", "master", "a", "--split", "line", "-f", str(tmp_path / "a"))
    pachctl(*split)
    pachctl(*split)
    assert [file["path"] for file in pachctl.json("list-file", "data", "master", "a")] == [f"/a/{number:016x}" for number in range(4)]
    pachctl(*split, "-o", "--target-file-datums", "2")
    assert [file["path"] for file in pachctl.json("list-file", "data", "master", "a")] == [f"/a/{0:016x}"]


def test_files(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create-repo", "data")
    pachctl("put-file", "data", "master", "/d/a", "-f", "-", stdin=b"one\n")
    assert [file["path"] for file in pachctl("list-file", "data", "master", "--raw").documents] == ["/d"]
    assert [file["path"] for file in pachctl("list-file", "data", "master", "/d", "--raw").documents] == ["/d/a"]
    assert [file["path"] for file in pachctl("glob-file", "data", "master", "/*/*", "--raw").documents] == ["/d/a"]
    assert pachctl("inspect-file", "data", "master", "/d/a", "--raw").document["size_bytes"] == 4
    pachctl("get-file", "data", "master", "/d/a", "-o", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "one\n"
    pachctl("copy-file", "data", "master", "/d/a", "data", "master", "/b")
    pachctl("put-file", "data", "master", "/b", "-f", "-", stdin=b"two\n")
    assert [one["op"] for one in pachctl("diff-file", "data", "master", "/b", "data", "master^", "/b", "--raw").documents] == ["changed"]
    assert "+two" in pachctl("diff-file", "data", "master", "/b").out
    pachctl("delete-file", "data", "master", "/b")
    assert [file["path"] for file in pachctl("list-file", "data", "master", "--raw").documents] == ["/d"]


def test_pipelines(pachctl: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "count.json").write_text(json.dumps(COUNT))
    pachctl("create-repo", "books")
    pachctl("create-pipeline", "-f", str(tmp_path / "count.json"))
    pachctl("update-pipeline", "-f", str(tmp_path / "count.json"))
    assert pachctl("inspect-pipeline", "count", "--raw").document["version"] == 2
    pachctl("stop-pipeline", "count")
    pachctl("start-pipeline", "count")
    assert [pipeline["state"] for pipeline in pachctl("list-pipeline", "--raw").documents] == ["RUNNING"]
    (newest, *_) = pachctl("list-job", "-p", "count", "--raw").documents
    pachctl("stop-job", newest["id"])
    assert pachctl("inspect-job", newest["id"], "--raw").document["state"] == "KILLED"
    pachctl("delete-job", newest["id"])
    pachctl("delete-pipeline", "count")
    assert pachctl("list-pipeline", "--raw").documents == []
    pachctl("delete-all", "--yes")


def test_jobs_datums_and_logs(worked: Pachctl) -> None:
    assert len(worked("list-job").out.splitlines()) == 9
    (datum,) = worked("list-datum", "loud@master", "--raw").documents
    assert worked("inspect-datum", "loud@master", datum["id"], "--raw").document["state"] == "FAILED"
    assert worked("get-logs", "--job", "count@master").out == "counting /pfs/books/bad\n"
    answer = worked.run("flush-commit", "books/master", "--raw")
    assert (answer.status, answer.code, len(answer.documents)) == (1, "commit-failed", 3)
    assert [found["repo"] for found in worked("flush-commit", "books/master^", "--raw").documents] == ["books", "count", "loud"]


def test_wrong_number_of_words_is_wrong_usage(pachctl: Pachctl) -> None:
    assert "takes REPO BRANCH; it got images" in pachctl.misuse("create-branch", "images")
    pachctl.misuse("list-repo", "images")
    pachctl.misuse("flush-commit")
    pachctl.misuse("inspect-file", "a", "b", "c", "d")


def test_help_names_the_old_form(pachctl: Pachctl) -> None:
    assert "Usage: pachctl get-file [OPTIONS] REPO COMMIT PATH" in pachctl("get-file", "--help").out
