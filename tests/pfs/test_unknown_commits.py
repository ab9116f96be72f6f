"""Commits that the store holds and the record forgot: they are told, kept by the collector, and brought back or given up as the user says."""

import os
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from tests.cli.pachctl import Pachctl
from tests.records import SERVER, change_record, lose_record

LARGE = os.urandom(1_200_000)
of_files = pytest.mark.skipif(SERVER is not None, reason="copies the file of the record")


def age(home: Path) -> None:
    """Makes every object a year old."""
    for path in (home / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def restore_what_was_before(home: Path, pachctl: Pachctl) -> str:
    """A home whose record is restored from a backup that is older than its last commit, /large in data@master. The id of that."""
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/before", "in the backup")
    shutil.copy(home / "metadata.db", home / "backup")
    pachctl("put", "file", "data@master:/large", "-f", "-", stdin=LARGE)
    last: str = pachctl("inspect", "commit", "data@master", "-o", "json").document["id"]
    lose_record()
    shutil.copy(home / "backup", home / "metadata.db")
    age(home)
    return last


@of_files
def test_commits_made_after_the_backup_of_the_record_are_told(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    last = restore_what_was_before(environment_of_its_own, pachctl)
    answer = pachctl.run("fsck", "--deep", "-o", "json")
    (problem,) = answer.documents
    assert (answer.status, problem["code"]) == (1, "commits-unknown")
    assert f"data@{last}" in problem["message"]


@of_files
def test_commits_made_after_the_backup_are_kept_by_the_collector_and_rebuilt(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    last = restore_what_was_before(environment_of_its_own, pachctl)
    dry = pachctl("collect", "garbage", "--dry-run", "--grace", "0s", "-o", "json").document
    done = pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document
    assert (dry["freed_objects"], done["freed_objects"]) == (0, 0)
    assert dry["unknown_commits"] == done["unknown_commits"] == [f"data@{last}"]
    assert "Kept, of commits that the record lacks: 1" in pachctl("collect", "garbage", "--grace", "0s").out
    pachctl("fsck", "--rebuild", "--force")
    assert pachctl("get", "file", f"data@{last}:/large").data == LARGE
    assert pachctl("fsck", "--deep").out == ""


@of_files
def test_commits_that_are_given_up_go_with_the_next_collection(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    restore_what_was_before(environment_of_its_own, pachctl)
    assert pachctl.run("fsck", "--drop-unknown").status == 2
    assert pachctl.run("fsck", "--deep", "--fix").code == "problems-found"
    pachctl("fsck", "--deep", "--fix", "--drop-unknown")
    assert pachctl("fsck", "--deep").out == ""
    age(environment_of_its_own)
    done = pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document
    assert done["freed_bytes"] > len(LARGE)
    assert done["unknown_commits"] == []
    assert pachctl("get", "file", "data@master:/before").out == "in the backup"


@pytest.mark.skipif(SERVER is not None, reason="a server does not lose rows that others refer to")
def test_rows_that_are_lost_lose_nothing_to_the_collector(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "data")
    pachctl("put", "file", "data@master:/large", "-f", "-", stdin=LARGE)
    last = pachctl("inspect", "commit", "data@master", "-o", "json").document["id"]
    change_record(sa.delete(t.commit))
    age(environment_of_its_own)
    assert "commits-unknown" in [problem["code"] for problem in pachctl.run("fsck", "--deep", "-o", "json").documents]
    assert pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document["freed_objects"] == 0
    pachctl("fsck", "--rebuild", "--force")
    assert pachctl("get", "file", f"data@{last}:/large").data == LARGE


def test_what_was_removed_on_purpose_is_not_missed(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    for repo in ("data", "gone"):
        pachctl("create", "repo", repo)
        pachctl("put", "file", f"{repo}@master:/a", "-f", "-", stdin=LARGE)
        pachctl("put", "file", f"{repo}@master:/b", "-f", "-", stdin=LARGE[::-1])
    first, last = (pachctl("inspect", "commit", name, "-o", "json").document["id"] for name in ("data@master^", "data@master"))
    pachctl("delete", "commit", f"data@{last}")
    pachctl.put("data@master:/c", "c")
    pachctl("squash", "commit", f"data@{first}")
    pachctl("delete", "repo", "gone")
    assert pachctl("fsck", "--deep").out == ""
    age(environment_of_its_own)
    done = pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document
    assert done["unknown_commits"] == []
    assert done["freed_bytes"] > len(LARGE)
