"""Garbage collection: what goes, what stays, and who may write meanwhile."""

import datetime as dt
import itertools
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import ConflictError, NotFoundError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs import belonging, reading
from pachyderm_dagster.pfs.collecting import LEASE, Collected
from pachyderm_dagster.pfs.commit_records import find_recorded_id
from pachyderm_dagster.pfs.holdings import read_holdings
from pachyderm_dagster.pps.checking import Consent, fix_home
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.objects import ObjectStore, object_key
from pachyderm_dagster.storage.packs import find_pack_index
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.records import SERVER

NOW = dt.timedelta(0)
LARGE = secrets.token_bytes(1_500_000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def place(home: Path) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(home)})
    opened.pfs.create_repo("data")
    yield opened
    opened.close()


def age(place: Workspace) -> None:
    """Makes every object a year old."""
    for path in (place.settings.home / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


def collect(place: Workspace) -> Collected:
    """Collects whatever nothing refers to and is not in flight."""
    age(place)
    return place.collect_garbage(grace=NOW)


def put(place: Workspace, path: str, data: bytes, reference: str = "data@master") -> str:
    with place.pfs.modify_file(reference) as files:
        files.put_bytes(path, data)
    return files.commit.id


def read(place: Workspace, reference: str) -> bytes:
    # A new façade, so that nothing comes from its memory.
    opened = open_workspace({"PACHYDERM_HOME": str(place.settings.home)})
    try:
        return b"".join(opened.pfs.get_file(reference))
    finally:
        opened.close()


def stored(place: Workspace) -> int:
    return sum(found.size for found in place.store.list("objects"))


def test_what_commits_refer_to_stays_and_what_a_repo_held_goes(place: Workspace) -> None:
    put(place, "/small", b"1")
    put(place, "/large", LARGE)
    place.pfs.create_repo("gone")
    put(place, "/other", secrets.token_bytes(1_500_000), "gone@master")
    before = stored(place)
    assert collect(place).freed.size_bytes == 0
    place.pfs.delete_repo("gone")
    collected = collect(place)
    assert 1_500_000 <= collected.freed.size_bytes < 1_700_000
    assert stored(place) == before - collected.freed.size_bytes
    assert read(place, "data@master:/small") == b"1"
    assert read(place, "data@master:/large") == LARGE


def test_a_dry_run_says_what_would_go_and_removes_nothing(place: Workspace) -> None:
    put(place, "/large", LARGE)
    place.pfs.create_repo("gone")
    put(place, "/other", secrets.token_bytes(1_500_000), "gone@master")
    place.pfs.delete_repo("gone")
    age(place)
    before = stored(place)
    dry = place.collect_garbage(grace=NOW, dry_run=True)
    assert stored(place) == before
    assert dry.inventory.kept.size_bytes + dry.inventory.garbage.size_bytes == before
    assert dry.head_bytes == len(LARGE)
    assert dry.inventory.live_bytes is not None
    assert len(LARGE) < dry.inventory.live_bytes <= dry.inventory.kept.size_bytes
    assert place.collect_garbage(grace=NOW).freed == dry.freed


def test_what_is_younger_than_the_grace_stays(place: Workspace) -> None:
    put(place, "/large", LARGE)
    place.pfs.delete_repo("data")
    collected = place.collect_garbage(grace=dt.timedelta(hours=1))
    assert collected.freed.objects == 0
    # What the repo held until just now hangs on a root of its own as long as the grace.
    assert len(LARGE) < collected.inventory.kept.size_bytes == stored(place)
    age(place)
    # Whoever found it before it was deleted may still read it.
    assert place.collect_garbage(grace=dt.timedelta(hours=1)).freed.objects == 0
    assert place.collect_garbage(grace=NOW).freed.size_bytes > len(LARGE)


def test_dropped_and_forgotten_content_goes_and_squashed_content_stays(place: Workspace) -> None:
    put(place, "/kept", b"k")
    squashed = put(place, "/squashed", secrets.token_bytes(1_500_000))
    dropped = put(place, "/dropped", LARGE)
    place.pfs.drop_commit(f"data@{dropped}")
    assert collect(place).freed.size_bytes > len(LARGE)
    head = put(place, "/head", b"h")
    place.pfs.squash_commit(f"data@{squashed}")
    assert collect(place).freed.size_bytes < 10_000
    assert len(read(place, f"data@{head}:/squashed")) == 1_500_000
    assert read(place, "data@master^:/kept") == b"k"


def test_layers_of_open_commits_stay_until_they_are_dropped(place: Workspace) -> None:
    commit = place.pfs.start_commit("data@master")
    put(place, "/a", b"first")
    put(place, "/large", LARGE)
    collect(place)
    assert read(place, f"data@{commit.id}:/a") == b"first"
    place.pfs.finish_commit("data@master")
    collect(place)
    assert read(place, "data@master:/large") == LARGE


def test_a_commit_that_was_looked_at_long_before_is_finished_whole(place: Workspace) -> None:
    place.pfs.start_commit("data@master")
    put(place, "/a", b"first")
    assert place.pfs.inspect_file("data@master:/a").size_bytes == 5
    collect(place)
    place.pfs.finish_commit("data@master")
    assert read(place, "data@master:/a") == b"first"


def test_copy_from_an_open_commit_that_was_looked_at_long_before_is_whole(home: Path) -> None:
    clock = ManualClock()
    place = open_workspace({"PACHYDERM_HOME": str(home)}, clock=clock)
    place.pfs.create_repo("data")
    put(place, "/log", b"one")
    place.pfs.start_commit("data@master")
    with place.pfs.modify_file("data@master") as files:
        files.put_bytes("/log", b"two", append=True)
    place.pfs.list_file("data@master:/")
    age(place)
    clock.advance(dt.timedelta(hours=2))
    with place.pfs.modify_file("data@copy") as files:
        rows = reading.rows_below(place.pfs.trees, place.pfs.root("data@master"), "/log", label="data@master")
        files.copy_rows(rows, "/log", "/copy")
        place.collect_garbage(grace=dt.timedelta(hours=1))
    assert read(place, "data@copy:/copy") == b"onetwo"
    place.close()


@pytest.mark.parametrize("end", ["clear", "drop", "finish without it"])
def test_copy_of_what_an_open_commit_gives_up_meanwhile_is_whole(place: Workspace, end: str) -> None:
    place.pfs.create_repo("copy")
    place.pfs.start_commit("data@master")
    put(place, "/a", b"staged")
    rows = reading.rows_below(place.pfs.trees, place.pfs.root("data@master"), "/a", label="data@master")
    with place.pfs.modify_file("copy@master") as files:
        files.copy_rows(rows, "/a", "/a")
        match end:
            case "clear":
                place.pfs.clear_commit("data@master")
            case "drop":
                place.pfs.drop_commit("data@master")
            case _:
                with place.pfs.modify_file("data@master") as later:
                    later.delete("/a")
                place.pfs.finish_commit("data@master")
        age(place)
        place.collect_garbage(grace=dt.timedelta(hours=1))
    assert read(place, "copy@master:/a") == b"staged"


def test_writer_that_began_before_the_horizon_is_refused_and_changes_nothing(place: Workspace) -> None:
    with pytest.raises(ConflictError) as caught, place.pfs.modify_file("data@master") as files:  # noqa: PT012 -- the end of the block raises
        files.put_bytes("/large", LARGE)
        collect(place)
    assert caught.value.code == "write-collected"
    with pytest.raises(NotFoundError):
        place.pfs.inspect_commit("data@master")
    put(place, "/large", LARGE)
    assert read(place, "data@master:/large") == LARGE


def test_write_under_way_within_the_grace_is_left_alone(place: Workspace) -> None:
    with place.pfs.modify_file("data@master") as files:
        files.put_bytes("/large", LARGE)
        assert place.collect_garbage(grace=dt.timedelta(minutes=1)).freed.objects == 0
    assert read(place, "data@master:/large") == LARGE


def test_content_that_comes_again_while_its_objects_are_being_removed_is_whole(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = put(place, "/large", LARGE)
    place.pfs.drop_commit(f"data@{commit}")
    age(place)
    remove = type(place.store).remove_older
    wrote: list[str] = []

    def write_and_remove(store: object, key: str, before: dt.datetime) -> bool:
        monkeypatch.undo()
        wrote.append(put(place, "/again", LARGE))
        return remove(place.store, key, before)

    monkeypatch.setattr(type(place.store), "remove_older", write_and_remove)
    place.collect_garbage(grace=NOW)
    assert read(place, f"data@{wrote[0]}:/again") == LARGE


def test_copy_from_a_commit_that_is_dropped_and_collected_meanwhile_is_whole_or_refused(place: Workspace) -> None:
    place.pfs.create_repo("other")
    commit = put(place, "/large", LARGE)
    pfs = place.pfs
    with pytest.raises(ConflictError) as caught, pfs.modify_file("other@master") as files:  # noqa: PT012 -- the end of the block raises
        files.put_content("/copy", pfs.find_content("data@master", "/large"))
        pfs.drop_commit(f"data@{commit}")
        collect(place)
    assert caught.value.code == "write-collected"
    commit = put(place, "/large", LARGE)
    with pfs.modify_file("other@master") as files:
        files.put_content("/copy", pfs.find_content("data@master", "/large"))
        pfs.drop_commit(f"data@{commit}")
        age(place)
        place.collect_garbage(grace=dt.timedelta(minutes=1))
    assert read(place, "other@master:/copy") == LARGE


def test_record_of_a_commit_outlives_the_content_that_lay_beside_it(place: Workspace) -> None:
    first = put(place, "/a", b"1")
    second = put(place, "/large", secrets.token_bytes(900_000))
    with place.pfs.modify_file("data@master") as files:
        files.delete("/large")
    place.pfs.squash_commit(f"data@{second}")
    with place.database.read() as txn:
        kept = {row.set_id for row in txn.all(sa.select(t.commit.c.set_id))}
    collect(place)
    assert kept == {first, files.commit.id}
    assert recorded_ids(place) >= kept
    assert collect(place).freed.objects == 0
    assert recorded_ids(place) >= kept


def need_a_rescue(place: Workspace) -> dict[str, str | None]:
    """Leaves the newest record of a commit in a pack of which nothing else is needed any more. What is recorded of commits."""
    put(place, "/a", b"1")
    squashed = put(place, "/b", b"2")
    place.pfs.create_branch("data@fork", head=squashed)
    put(place, "/c", b"3", "data@fork")
    dropped = put(place, "/c", b"4")
    # Both children get a record with another parent, in one pack.
    place.pfs.squash_commit(f"data@{squashed}")
    place.pfs.drop_commit(f"data@{dropped}")
    age(place)
    return recorded_parents(place)


def recorded_parents(place: Workspace) -> dict[str, str | None]:
    return {record.id: record.parent for record in read_holdings(place.store, lambda _: None).records.values()}


def test_no_record_is_lost_when_the_store_refuses_a_read(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = need_a_rescue(place)
    store_type = type(place.store)
    get_range = store_type.get_range
    codes: set[str] = set()
    calls = 0
    for refused in range(1, 100):
        calls = 0

        def refuse_one(store: FolderStore, key: str, offset: int, length: int) -> Buffer:
            nonlocal calls
            calls += 1
            if calls == refused:  # noqa: B023 -- called in this turn of the loop alone
                raise StorageError("storage-denied", "credentials expired")
            return get_range(store, key, offset, length)

        with monkeypatch.context() as patched:
            patched.setattr(store_type, "get_range", refuse_one)
            try:
                place.collect_garbage(grace=NOW)
            except StorageError as error:
                codes.add(error.code)
        assert recorded_parents(place) == kept
        if calls < refused:
            break
    assert 3 < calls < 99
    assert codes == {"storage-denied"}


def test_record_of_a_newer_format_ends_the_collection(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = need_a_rescue(place)
    with monkeypatch.context() as patched:
        patched.setattr("pachyderm_dagster.pfs.commit_records.RECORD_VERSION", 0)
        with pytest.raises(StorageError) as caught:
            place.collect_garbage(grace=NOW)
    assert caught.value.code == "commit-record-format"
    assert recorded_parents(place) == kept


def recorded_ids(place: Workspace) -> set[str]:
    found = set()
    for object_ in place.store.list("objects"):
        for blob_id, _ in find_pack_index(place.store, bytes.fromhex(object_.key[-64:]), object_.size) or []:
            found.add(find_recorded_id(blob_id) or "")
    return found - {""}


def test_only_one_collects_at_a_time(place: Workspace) -> None:
    assert place.leases.acquire(LEASE, "somebody", dt.timedelta(minutes=1))
    with pytest.raises(ConflictError) as caught:
        place.collect_garbage(grace=NOW)
    assert caught.value.code == "collection-running"
    place.collect_garbage(grace=NOW, dry_run=True)
    place.leases.release(LEASE, "somebody")
    place.collect_garbage(grace=NOW)


def test_nothing_is_removed_when_a_tree_cannot_be_read(place: Workspace) -> None:
    put(place, "/a", b"1")
    root = place.pfs.root("data@master")
    assert root.ref is not None
    place.store.delete(object_key(root.ref.object))
    place.pfs.create_repo("gone")
    put(place, "/large", LARGE, "gone@master")
    place.pfs.delete_repo("gone")
    age(place)
    before = stored(place)
    with pytest.raises(NotFoundError) as caught:
        place.collect_garbage(grace=NOW)
    assert caught.value.code == "object-not-found"
    assert stored(place) == before


def test_a_job_under_way_holds_the_horizon_back(place: Workspace) -> None:
    put(place, "/a", b"1")
    started = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

    def pretend(txn: object) -> None:
        head = place.pfs.inspect_commit("data@master")
        project = txn.first(sa.select(t.project.c.id)).id  # type: ignore[attr-defined]
        pipeline = txn.insert(t.pipeline, project_id=project, name="slow", version=1, state="running", created=started)  # type: ignore[attr-defined]
        values = {"pipeline_id": pipeline, "version": 1, "set_id": head.id, "output_commit_id": head.key, "meta_commit_id": head.key}
        txn.insert(t.job, **values, state="running", created=started, started=started)  # type: ignore[attr-defined]

    place.database.write(pretend)
    found = place.collect_garbage(grace=NOW, dry_run=True)
    assert found.before == started
    assert found.held_by is not None and found.held_by.startswith("slow@")


def test_history_costs_one_tree_and_the_changes(place: Workspace) -> None:
    with place.pfs.modify_file("data@master") as files:
        for number in range(5000):
            files.put_bytes(f"/{number:05}", b"%d" % number)
    for number in range(20):
        put(place, f"/{number:05}", b"new")
    reads: list[str] = []
    store_type = type(place.store)
    get_range = store_type.get_range

    def counted(store: object, key: str, offset: int, length: int) -> Buffer:
        reads.append(key)
        return get_range(place.store, key, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_type, "get_range", counted)
        place.collect_garbage(grace=NOW, dry_run=True)
    # Of each of the 20 commits a root and a leaf, which lie in one pack; of the first a root and the leaves.
    assert len(reads) <= 20 * 3 + 10


def test_collection_beside_writers_loses_nothing(place: Workspace) -> None:
    stop = threading.Event()
    written: dict[str, bytes] = {}
    refused: list[str] = []
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for number in range(1000):
                if stop.is_set():
                    return
                data = LARGE if number % 2 else b"%d" % number
                try:
                    commit = put(place, f"/{name}", data, f"data@{name}")
                except ConflictError as error:
                    refused.append(error.code)
                    continue
                written[f"data@{commit}:/{name}"] = data
                if number % 3 == 2:
                    place.pfs.drop_commit(f"data@{commit}")
                    del written[f"data@{commit}:/{name}"]
        except BaseException as error:  # noqa: BLE001 -- shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    # As often as it takes to find something; the writers end by themselves.
    rounds = itertools.count(1)
    removed = 0
    while (next(rounds) <= 15 or not removed) and any(thread.is_alive() for thread in threads):
        removed += place.collect_garbage(grace=NOW).freed.objects
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(refused) <= {"write-collected"}
    assert removed > 0
    for reference, data in written.items():
        assert read(place, reference) == data


def test_nothing_is_removed_or_mended_in_the_store_of_another_record(place: Workspace, tmp_path: Path) -> None:
    put(place, "/a", LARGE)
    age(place)
    home = {"PACHYDERM_HOME": str(tmp_path / "other")}
    if SERVER is not None:
        pytest.skip("homes share the server's schema")
    open_workspace(home).close()
    mistaken = open_workspace({**home, "PACHYDERM_STORAGE_URL": place.settings.storage_url})
    for dry_run in (False, True):
        with pytest.raises(StorageError) as caught:
            mistaken.collect_garbage(grace=NOW, dry_run=dry_run)
        assert caught.value.code == "store-of-another"
    with pytest.raises(StorageError) as caught:
        fix_home(mistaken.database, mistaken.store, Consent(mark_lost=True), deep=False, progress=lambda _: None)
    assert caught.value.code == "store-of-another"
    structures = [found.key for found in place.store.list("structure")]
    with pytest.raises(StorageError) as caught:
        mistaken.pfs.create_repo("elsewhere")
    assert caught.value.code == "store-of-another"
    mistaken.close()
    assert [found.key for found in place.store.list("structure")] == structures
    assert read(place, "data@master:/a") == LARGE


def test_of_two_new_records_one_gets_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if SERVER is not None:
        pytest.skip("homes share the server's schema")
    first, second = ({"PACHYDERM_HOME": str(tmp_path / name), "PACHYDERM_STORAGE_URL": (tmp_path / "store").as_uri()} for name in ("1", "2"))
    is_used = belonging.is_used
    overtaken: list[bool] = []

    def overtake(store: ObjectStore) -> bool:
        used = is_used(store)
        if not overtaken:
            overtaken.append(True)
            open_workspace(second).close()
        return used

    monkeypatch.setattr(belonging, "is_used", overtake)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            open_workspace(first)
        assert caught.value.code == "record-lost"
    open_workspace(second).close()


def test_sparse_packs_are_counted(place: Workspace) -> None:
    with place.pfs.modify_file("data@master") as files:
        for number in range(50):
            files.put_bytes(f"/{number}", secrets.token_bytes(1000))
    first = files.commit.id
    with place.pfs.modify_file("data@master") as files:
        for number in range(49):
            files.delete(f"/{number}")
    place.pfs.squash_commit(f"data@{first}")
    age(place)
    found = place.collect_garbage(grace=NOW, dry_run=True).inventory
    assert found.sparse.objects == 1
    assert 1000 <= found.sparse_live_bytes < 2000
    assert found.sparse.size_bytes > 50_000
