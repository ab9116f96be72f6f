"""Commits of what others made: their content, their provenance, and no second one for the same."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import ConflictError, NotFoundError, StateError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.horizon import move_horizon
from pachyderm_dagster.pfs.made_commits import MadeFrom, Making, make_commit
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin, RepoName
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pfs.removal import drop_commit
from pachyderm_dagster.storage.open_store import open_store

IMAGES, OUT = BranchName(RepoName("default", "images"), "master"), BranchName(RepoName("default", "out"), "runs")


@pytest.fixture
def pfs(tmp_path: Path, metadata_url: str) -> Iterator[Pfs]:
    database = Database(open_engine(metadata_url), SystemClock(), finishers=(propagate,))
    pfs = Pfs(database, open_store((tmp_path / "objects").as_uri()))
    pfs.create_repo("images")
    yield pfs
    database.close()


def put(pfs: Pfs, content: bytes, branch: str = "images@master") -> Commit:
    with pfs.modify_file(branch) as files:
        files.put_bytes("/a", content)
    return files.commit


def make(pfs: Pfs, source: Commit, *made_from: MadeFrom, since: dt.datetime | None = None) -> Commit:
    """A commit with the content of another."""
    making = Making(pfs.trees.decode(source.tree), made_from, Origin.AUTO, since or pfs.database.clock.now(), "made")
    return make_commit(pfs.database, pfs.store, OUT, making)


def test_content_provenance_and_branch_are_those_that_were_said(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    made = make(pfs, source, MadeFrom(IMAGES, source.id))
    assert (made.branch, made.tree, made.origin, made.description) == ("runs", source.tree, Origin.AUTO, "made")
    assert made.direct_provenance == (str(source),)
    assert pfs.inspect_commit("out@runs").id == made.id
    with pfs.database.read() as txn:
        assert commits.read_through(txn, made.key) == {IMAGES: source.key}


def test_the_same_again_is_the_same_commit(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    first = make(pfs, source, MadeFrom(IMAGES, source.id))
    assert make(pfs, source, MadeFrom(IMAGES, source.id)).id == first.id
    assert len(list(pfs.find_commit("out@runs:/a"))) == 1


def test_other_provenance_or_content_is_another_commit_behind_it(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    first = make(pfs, source, MadeFrom(IMAGES, source.id))
    same = put(pfs, b"one")
    second = make(pfs, same, MadeFrom(IMAGES, same.id))
    other = put(pfs, b"two")
    third = make(pfs, other, MadeFrom(IMAGES, same.id))
    assert (second.parent, third.parent) == (first.id, second.id)


def test_two_branches_with_one_head_are_two_in_the_provenance(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    other = BranchName(IMAGES.repo, "other")
    made = make(pfs, source, MadeFrom(IMAGES, source.id), MadeFrom(other, source.id))
    with pfs.database.read() as txn:
        assert commits.read_through(txn, made.key) == {IMAGES: source.key, other: source.key}


def test_what_something_was_made_from_cannot_be_dropped_alone(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    made = make(pfs, source, MadeFrom(IMAGES, source.id))
    with pytest.raises(StateError):
        pfs.database.write(lambda txn: drop_commit(txn, source.key))
    gone = pfs.database.write(lambda txn: drop_commit(txn, source.key, recursive=True))
    assert {commit.id for commit in gone} == {source.id, made.id}


def test_a_branch_that_a_pipeline_writes_is_left_alone(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    pfs.create_repo("out")
    pfs.create_branch("out@runs", provenance=["images@master"])
    pfs.finish_commit("out@runs")
    with pytest.raises(StateError) as raised:
        make(pfs, source)
    assert raised.value.code == "output-branch"


def test_commits_that_are_not_there_or_open_are_no_provenance(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    with pytest.raises(NotFoundError):
        make(pfs, source, MadeFrom(IMAGES, "0" * 32))
    opened = pfs.start_commit("images@master")
    with pytest.raises(StateError, match="still open"):
        make(pfs, source, MadeFrom(IMAGES, opened.id))


def test_content_that_may_have_been_collected_is_not_committed(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    pfs.database.write(lambda txn: move_horizon(txn, txn.clock.now()))
    with pytest.raises(ConflictError):
        make(pfs, source, since=pfs.database.clock.now() - dt.timedelta(hours=1))


def test_what_follows_the_branch_is_set_off(pfs: Pfs) -> None:
    source = put(pfs, b"one")
    make(pfs, source)
    pfs.create_repo("next")
    pfs.create_branch("next@master", provenance=["out@runs"])
    made = make(pfs, source, MadeFrom(IMAGES, source.id))
    assert pfs.inspect_commit("next@master").direct_provenance == (str(made),)
