"""One-off writes that meet: all are kept, each its own commit, in few packs and transactions."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.commit_records import find_recorded_id, load_record, read_record
from pachyderm_dagster.pfs.group_commit import _Queue
from pachyderm_dagster.pfs.horizon import move_horizon
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.packs import find_pack_index
from tests.storage.faulty import FillingStore

WRITERS = 16


@pytest.fixture
def pfs(tmp_path: Path, metadata_url: str) -> Iterator[Pfs]:
    database = Database(open_engine(metadata_url), SystemClock(), finishers=(propagate,))
    pfs = Pfs(database, FillingStore(open_store((tmp_path / "objects").as_uri())))
    pfs.create_repo("data")
    yield pfs
    database.close()


def counted(pfs: Pfs) -> FillingStore:
    assert isinstance(pfs.store, FillingStore)
    return pfs.store


def put(pfs: Pfs, path: str, data: bytes, *, append: bool = False, target: str = "data@master") -> Commit:
    with pfs.modify_file(target) as files:
        files.put_bytes(path, data, append=append)
    return files.commit


def read(pfs: Pfs, reference: str) -> bytes:
    return b"".join(pfs.get_file(reference))


def history(pfs: Pfs, head: str = "data@master") -> list[str]:
    """The ids of a commit and its ancestors, oldest first."""
    ids = []
    parent: str | None = pfs.inspect_commit(head).id
    while parent is not None:
        ids.append(parent)
        parent = pfs.inspect_commit(f"data@{parent}").parent
    return ids[::-1]


def together(pfs: Pfs, writes: Sequence[Callable[[], Commit]]) -> list[Commit | PachydermError]:
    """What writes end with that all wait before the first of them is led."""
    ends: list[Commit | PachydermError | None] = [None] * len(writes)
    queues = pfs._writes._queues

    def run(number: int) -> None:
        try:
            ends[number] = writes[number]()
        except PachydermError as error:
            ends[number] = error

    # The queue's lock is held here as if somebody were leading.
    queue = queues[pfs.parse("data@master")]
    with queue.leading:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(writes))]
        for thread in threads:
            thread.start()
        while len(queue.waiting) < len(writes):
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    found = [end for end in ends if end is not None]
    assert len(found) == len(writes)
    return found


def committed(ends: list[Commit | PachydermError]) -> list[Commit]:
    for end in ends:
        if isinstance(end, PachydermError):
            raise end
    return [end for end in ends if isinstance(end, Commit)]


def test_one_file_commit_stores_one_object(pfs: Pfs) -> None:
    put(pfs, "/a", b"first")
    before = counted(pfs).writes
    put(pfs, "/b", b"second")
    assert counted(pfs).writes == before + 1


def test_one_file_commit_syncs_its_pack_and_the_folder_of_that(pfs: Pfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(pfs, "/0", b"0")
    for number in range(256):
        (tmp_path / "objects/objects" / f"{number:02x}").mkdir(exist_ok=True)
    synced: list[int] = []
    fsync = os.fsync

    def recording_fsync(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    put(pfs, "/a", b"first")
    assert len(synced) == 2


def test_record_of_a_commit_lies_beside_its_tree_and_says_what_the_database_knows(pfs: Pfs) -> None:
    put(pfs, "/a", b"first")
    commit = put(pfs, "/b", b"second")
    root = pfs.root(f"data@{commit.id}")
    assert root.ref is not None
    found = {find_recorded_id(blob_id): ref for blob_id, ref in find_pack_index(pfs.store, root.ref.object) or []}
    record = read_record(pfs.store, found[commit.id])
    with pfs.database.read() as txn:
        known = load_record(txn, commit.key)
    assert (record.repo, record.branch, record.parent, record.tree) == ("data", "master", commit.parent, root.encode())
    assert {**fields(record), "written": None} == {**fields(known), "written": None}


def fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]


def test_record_of_a_finished_commit_lies_beside_its_tree(pfs: Pfs) -> None:
    pfs.start_commit("data@master", description="begun")
    put(pfs, "/a", b"first")
    commit = pfs.finish_commit("data@master")
    root = pfs.root("data@master")
    assert root.ref is not None
    found = {find_recorded_id(blob_id): ref for blob_id, ref in find_pack_index(pfs.store, root.ref.object) or []}
    record = read_record(pfs.store, found[commit.id])
    with pfs.database.read() as txn:
        known = load_record(txn, commit.key)
    assert {**fields(record), "written": None} == {**fields(known), "written": None}


def test_stored_bytes_are_what_a_write_added(pfs: Pfs) -> None:
    large = bytes(range(256)) * 8000
    put(pfs, "/large", large)
    put(pfs, "/again", large)
    put(pfs, "/small", b"x" * 1000)
    with pfs.database.read() as txn:
        stored = [row.stored_bytes for row in txn.all(sa.select(t.commit.c.stored_bytes).order_by(t.commit.c.id))]
    assert len(large) < stored[0] < len(large) + 2000
    assert stored[1] < 2000
    assert 1000 < stored[2] < 3000


def test_open_commit_counts_what_each_put_stored(pfs: Pfs) -> None:
    pfs.start_commit("data@master")
    put(pfs, "/a", b"x" * 1000)
    before = counted(pfs).writes
    put(pfs, "/b", b"y" * 1000)
    assert counted(pfs).writes == before + 1
    commit = pfs.finish_commit("data@master")
    assert counted(pfs).writes == before + 2
    with pfs.database.read() as txn:
        stored = load_record(txn, commit.key).stored_bytes
    assert 2000 < stored < 6000
    assert (read(pfs, "data@master:/a"), read(pfs, "data@master:/b")) == (b"x" * 1000, b"y" * 1000)


def test_writes_that_wait_share_a_pack_and_are_commits_of_their_own(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    before = counted(pfs).writes
    writes = [partial(put, pfs, f"/{number}", b"%d" % number) for number in range(1, WRITERS)]
    made = committed(together(pfs, writes))
    assert counted(pfs).writes == before + 1
    assert len({commit.id for commit in made}) == WRITERS - 1
    line = history(pfs)
    assert set(line[1:]) == {commit.id for commit in made}
    names = {commit.id: number for number, commit in enumerate(made, 1)}
    for position, commit_id in enumerate(line[1:], 2):
        assert read(pfs, f"data@{commit_id}:/{names[commit_id]}") == b"%d" % names[commit_id]
        assert len(pfs.list_file(f"data@{commit_id}:/")) == position


def test_each_of_a_group_is_propagated_by_itself(pfs: Pfs) -> None:
    pfs.create_repo("downstream")
    pfs.create_branch("downstream@master", provenance=["data@master"])
    made = committed(together(pfs, [partial(put, pfs, f"/{number}", b"x") for number in range(4)]))
    for commit in made:
        assert pfs.inspect_commit(f"downstream@{commit.id}").direct_provenance == (f"data@{commit.id}",)


def test_appends_that_meet_follow_one_another(pfs: Pfs) -> None:
    put(pfs, "/log", b"-")
    committed(together(pfs, [partial(put, pfs, "/log", b"%d" % number, append=True) for number in range(8)]))
    assert sorted(read(pfs, "data@master:/log")) == sorted(b"-01234567")


def test_write_that_cannot_be_applied_fails_alone(pfs: Pfs) -> None:
    put(pfs, "/taken", b"a file")
    writes = [lambda: put(pfs, "/a", b"1"), lambda: put(pfs, "/taken/below", b"2"), lambda: put(pfs, "/c", b"3")]
    first, second, third = together(pfs, writes)
    assert isinstance(second, InvalidError)
    assert second.code == "path-conflict"
    assert isinstance(first, Commit)
    assert isinstance(third, Commit)
    assert [info.path for info in pfs.list_file("data@master:/")] == ["/a", "/c", "/taken"]


def test_group_of_an_outage_fails_and_the_next_write_succeeds(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    counted(pfs).full = True
    ends = together(pfs, [partial(put, pfs, f"/{number}", b"x") for number in range(1, 4)])
    assert [type(end) for end in ends] == [StorageError] * 3
    assert len({id(end) for end in ends}) == 3
    counted(pfs).full = False
    put(pfs, "/after", b"x")
    assert [info.path for info in pfs.list_file("data@master:/")] == ["/0", "/after"]


def test_large_and_small_writes_meet(pfs: Pfs) -> None:
    large = bytes(range(256)) * 8000

    def put_many() -> Commit:
        with pfs.modify_file("data@master") as files:
            for number in range(300):
                files.put_bytes(f"/many/{number}", b"%d" % number * 2000)
        return files.commit

    committed(together(pfs, [lambda: put(pfs, "/large", large), put_many, lambda: put(pfs, "/small", b"s")]))
    assert read(pfs, "data@master:/large") == large
    assert read(pfs, "data@master:/many/299") == b"299" * 2000
    assert read(pfs, "data@master:/small") == b"s"


def test_writes_to_an_open_commit_join_it(pfs: Pfs) -> None:
    opened = pfs.start_commit("data@master")
    made = committed(together(pfs, [partial(put, pfs, f"/{number}", b"x") for number in range(4)]))
    assert {commit.id for commit in made} == {opened.id}
    pfs.finish_commit("data@master")
    assert len(pfs.list_file("data@master:/")) == 4


def put_after(pfs: Pfs, change: Callable[[], object]) -> Commit:
    """A put during which something else happens."""
    with pfs.modify_file("data@master") as files:
        files.put_bytes("/late", b"x")
        change()
    return files.commit


def test_write_joins_a_commit_that_was_opened_meanwhile(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    opened: list[Commit] = []
    assert put_after(pfs, lambda: opened.append(pfs.start_commit("data@master"))).id == opened[0].id
    assert pfs.inspect_commit("data@master").finished is None


def test_branch_that_becomes_an_output_refuses_the_write(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    pfs.create_repo("source")

    def make_output() -> None:
        pfs.create_branch("data@master", provenance=["source@master"])
        pfs.finish_commit("data@master")

    with pytest.raises(StateError) as caught:
        put_after(pfs, make_output)
    assert caught.value.code == "output-branch"


def test_repo_that_is_gone_is_said_so(pfs: Pfs) -> None:
    with pytest.raises(NotFoundError):
        put_after(pfs, lambda: pfs.delete_repo("data"))


def test_other_processes_and_this_one_lose_nothing(tmp_path: Path, pfs: Pfs) -> None:
    # Another Pfs knows nothing of this one's queue, as another process.
    others = [Pfs(pfs.database, open_store((tmp_path / "objects").as_uri())) for _ in range(4)]
    made: list[str] = []

    def run(one: Pfs, number: int) -> None:
        for turn in range(5):
            made.append(put(one, f"/{number}-{turn}", b"x").id)

    threads = [threading.Thread(target=run, args=(one, number)) for number, one in enumerate([pfs, *others, pfs, pfs])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(history(pfs)) == sorted(made)
    assert len(pfs.list_file("data@master:/")) == len(made) == 35


def test_write_that_was_overtaken_leaves_records_of_one_commit(tmp_path: Path, pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    other = Pfs(pfs.database, open_store((tmp_path / "objects").as_uri()))
    write_in_turn = pfs.database.write_in_turn
    overtaken: list[bool] = []

    def overtake(changes: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            put(other, "/other", b"o")
        return write_in_turn(changes)

    pfs.database.write_in_turn = overtake  # type: ignore[method-assign]
    put(pfs, "/1", b"1")
    found = [read_record(pfs.store, ref) for ref in record_refs(pfs)]
    assert {record.id for record in found} == set(history(pfs))
    newest = {record.id: record.parent for record in sorted(found, key=lambda record: record.written)}
    assert newest == {id: pfs.inspect_commit(f"data@{id}").parent for id in history(pfs)}


def record_refs(pfs: Pfs) -> list[Ref]:
    """Where commit records lie in the store."""
    packs = [(bytes.fromhex(info.key.rpartition("/")[2]), info.size) for info in pfs.store.list("objects")]
    return [ref for id, size in packs for blob_id, ref in find_pack_index(pfs.store, id, size) or () if find_recorded_id(blob_id) is not None]


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_write_that_is_interrupted_while_it_waits_does_not_happen(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    queue = _Queue(leading=InterruptedLock())  # type: ignore[arg-type]
    pfs._writes._queues[pfs.parse("data@master")] = queue
    with pytest.raises(Interrupted):
        put(pfs, "/interrupted", b"x")
    assert pfs._writes._queues == {}
    put(pfs, "/after", b"x")
    assert [info.path for info in pfs.list_file("data@master:/")] == ["/0", "/after"]


class InterruptedLock:
    """A lock for which waiting is interrupted."""

    def __enter__(self) -> None:
        raise Interrupted

    def __exit__(self, *_: object) -> None:
        pass


def test_others_of_a_group_whose_leader_is_interrupted_are_told(pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
    put(pfs, "/0", b"0")
    apply = pfs._writes._apply
    interrupted: list[bool] = []

    def interrupt(*arguments: Any) -> None:
        if not interrupted:
            interrupted.append(True)
            raise Interrupted
        apply(*arguments)

    def interruptible(number: int) -> Commit:
        try:
            return put(pfs, f"/{number}", b"x")
        except Interrupted:
            raise ConflictError("interrupted", "as it was told") from None

    monkeypatch.setattr(pfs._writes, "_apply", interrupt)
    ends = together(pfs, [partial(interruptible, number) for number in range(4)])
    assert sorted(end.code for end in ends if isinstance(end, PachydermError)) == ["branch-busy"] * 3 + ["interrupted"]


def test_write_that_took_too_long_is_refused_alone(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")

    def too_long() -> Commit:
        with pfs.modify_file("data@master") as files:
            files.put_bytes("/old", b"x")
            horizon = pfs.database.clock.now()
            pfs.database.write(lambda txn: move_horizon(txn, horizon))
            collected.set()
        return files.commit

    def young() -> Commit:
        collected.wait()
        return put(pfs, "/young", b"x")

    collected = threading.Event()
    refused, made = together(pfs, [too_long, young])
    assert isinstance(refused, ConflictError)
    assert refused.code == "write-collected"
    assert isinstance(made, Commit)
    assert [info.path for info in pfs.list_file("data@master:/")] == ["/0", "/young"]


def test_queue_is_forgotten_when_nobody_waits(pfs: Pfs) -> None:
    put(pfs, "/0", b"0")
    together(pfs, [partial(put, pfs, f"/{number}", b"x") for number in range(3)])
    assert pfs._writes._queues == {}
