"""Commits under ids that their writers chose: one each, whatever happens to who writes it."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.named_commits import CommitName
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.storage.open_store import open_store

FIRST, SECOND = "1" * 32, "2" * 32


@pytest.fixture
def pfs(tmp_path: Path, metadata_url: str) -> Iterator[Pfs]:
    database = Database(open_engine(metadata_url), SystemClock(), finishers=(propagate,))
    pfs = Pfs(database, open_store((tmp_path / "objects").as_uri()))
    pfs.create_repo("data")
    yield pfs
    database.close()


def write(pfs: Pfs, id: str, content: bytes, *, branch: str = "data@master") -> Commit:
    with pfs.write_once(branch, CommitName(id, "why", {"owner": "ann"})) as files:
        files.put_bytes("/a", content)
    return files.commit


def read(pfs: Pfs, reference: str) -> bytes:
    return b"".join(pfs.get_file(reference))


def test_commit_has_the_id_and_what_was_said_of_it(pfs: Pfs) -> None:
    made = write(pfs, FIRST, b"one")
    assert (made.id, made.description, made.metadata, made.branch) == (FIRST, "why", {"owner": "ann"}, "master")
    assert pfs.inspect_commit("data@master").id == FIRST and read(pfs, f"data@{FIRST}:/a") == b"one"


def test_second_write_under_an_id_changes_nothing(pfs: Pfs) -> None:
    write(pfs, FIRST, b"one")
    write(pfs, SECOND, b"two")
    again = write(pfs, FIRST, b"other")
    assert again.id == FIRST and read(pfs, f"data@{FIRST}:/a") == b"one"
    assert pfs.inspect_commit("data@master").id == SECOND


def test_block_that_raises_leaves_the_id_free(pfs: Pfs) -> None:
    with contextlib.suppress(RuntimeError), pfs.write_once("data@master", CommitName(FIRST)) as files:
        files.put_bytes("/a", b"half")
        raise RuntimeError
    with pytest.raises(NotFoundError):
        pfs.inspect_commit(f"data@{FIRST}")
    assert write(pfs, FIRST, b"whole").id == FIRST


def test_write_goes_behind_whoever_was_faster_and_keeps_its_files(pfs: Pfs) -> None:
    with pfs.write_once("data@master", CommitName(FIRST)) as files:
        files.put_bytes("/mine", b"mine")
        with pfs.modify_file("data@master") as others:
            others.put_bytes("/theirs", b"theirs")
    assert files.commit.parent == others.commit.id
    assert (read(pfs, "data@master:/mine"), read(pfs, "data@master:/theirs")) == (b"mine", b"theirs")


def test_two_writers_of_one_id_at_once_make_one_commit_whose_record_is_true(pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=60)
    merged = pfs._named._record

    def meeting(*arguments: object) -> object:
        both.wait()
        return merged(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(pfs._named), "_record", lambda _self, *arguments: meeting(*arguments))
    made: list[Commit] = []
    threads = [threading.Thread(target=lambda content=content: made.append(write(pfs, FIRST, content))) for content in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [commit.id for commit in made] == [FIRST, FIRST] and made[0].tree == made[1].tree
    assert [commit.id for commit in pfs.subscribe_commit("data@master", stop=iter((False, True)).__next__)] == [FIRST]
    with pfs.database.read() as txn:
        row = txn.first(sa.select(t.commit.c.recorded).where(t.commit.c.set_id == FIRST))
    assert row is not None and not row.recorded, "the loser's record lies in the store, so another one has to be written"


def test_open_head_is_refused(pfs: Pfs) -> None:
    pfs.start_commit("data@master")
    with pytest.raises(StateError, match="is open"):
        write(pfs, FIRST, b"one")


def test_removed_id_is_not_used_again(pfs: Pfs) -> None:
    write(pfs, FIRST, b"one")
    pfs.drop_commit(f"data@{FIRST}")
    with pytest.raises(StateError, match="then removed"):
        write(pfs, FIRST, b"one")


def test_id_has_the_form_of_one(pfs: Pfs) -> None:
    with pytest.raises(InvalidError, match="32 digits"):
        write(pfs, "run-1", b"one")


def test_set_of_the_commit_has_the_id_downstream_too(pfs: Pfs) -> None:
    pfs.create_repo("made")
    pfs.create_branch("made@master", provenance=["data@master"])
    write(pfs, FIRST, b"one")
    assert pfs.inspect_commit("made@master").id == FIRST
