"""The contract of object stores, on every kind of store."""

import datetime as dt
import threading

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.storage import obstore_store
from pachyderm_dagster.storage.objects import ObjectStore, Ref, get_ref, object_key

KEY = "objects/ab/abcd"


def test_object_is_read_back_as_it_was_written(store: ObjectStore) -> None:
    assert store.put_new(KEY, b"some bytes") is True
    assert store.get(KEY) == b"some bytes"


def test_parts_are_joined(store: ObjectStore) -> None:
    parts = [b"%d," % number for number in range(3000)]
    store.put_new(KEY, [parts[0], bytearray(parts[1]), memoryview(b"--" + parts[2])[2:], b"", *parts[3:]])
    assert store.get(KEY) == b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 9 * 1024 * 1024 + 7])
def test_any_size_is_stored_whole(store: ObjectStore, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert store.put_new(KEY, data)
    assert store.get(KEY) == data


@pytest.mark.parametrize("size", [3, 2 * 1024 * 1024])
def test_existing_object_is_never_overwritten(store: ObjectStore, size: int) -> None:
    store.put_new(KEY, b"1" * size)
    assert store.put_new(KEY, b"2" * size) is False
    assert store.get(KEY) == b"1" * size


@pytest.mark.parametrize("size", [3, 2 * 1024 * 1024])
def test_kept_object_is_stored_once(store: ObjectStore, size: int) -> None:
    assert store.keep(KEY, [b"1", b"1" * (size - 1)]) is True
    assert store.keep(KEY, b"1" * size) is False
    assert store.get(KEY) == b"1" * size


@pytest.mark.parametrize("damaged", [b"", b"some", b"some bytes and more"])
def test_keeping_an_object_of_another_size_replaces_it(store: ObjectStore, damaged: bytes) -> None:
    store.put_new(KEY, damaged)
    assert store.keep(KEY, b"some bytes") is True
    assert store.get(KEY) == b"some bytes"


def test_kept_object_that_was_deleted_is_stored_again(store: ObjectStore) -> None:
    store.keep(KEY, b"some bytes")
    store.delete(KEY)
    assert store.keep(KEY, b"some bytes") is True
    assert store.get(KEY) == b"some bytes"


def test_batch_keeps_each_object_once_and_all_of_them_are_there_when_it_is_flushed(store: ObjectStore) -> None:
    store.put_new("objects/cd/there", b"there")
    store.put_new("objects/cd/damaged", b"dam")
    batch = store.begin_batch()
    kept = {f"objects/ab/{number}": b"%d" % number * 1000 for number in range(100)}
    assert all(batch.keep(key, data) for key, data in kept.items())
    assert batch.keep("objects/ab/7", kept["objects/ab/7"]) is False
    assert batch.keep("objects/cd/there", b"there") is False
    assert batch.keep("objects/cd/damaged", [b"dam", b"aged"]) is True
    batch.flush()
    assert {key: store.get(key) for key in kept} == kept
    assert store.get("objects/cd/damaged") == b"damaged"
    assert batch.keep("objects/ab/7", kept["objects/ab/7"]) is False
    assert batch.keep("objects/ab/later", b"x") is True
    batch.flush()
    assert store.get("objects/ab/later") == b"x"
    batch.stop()
    assert {found.key.partition("/")[0] for found in store.list("")} == {"objects", "format"}


def test_batch_takes_objects_from_several_threads(store: ObjectStore) -> None:
    batch = store.begin_batch()

    def keep(writer: int) -> None:
        for number in range(50):
            batch.keep(f"objects/ab/{number}", b"%d" % number)
            batch.keep(f"objects/ef/{writer}-{number}", b"%d" % writer)

    threads = [threading.Thread(target=keep, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch.flush()
    batch.stop()
    assert len(list(store.list("objects"))) == 50 + 200
    assert all(store.get(f"objects/ab/{number}") == b"%d" % number for number in range(50))


def test_only_one_of_many_writers_creates_the_object_and_the_others_find_it(store: ObjectStore) -> None:
    start = threading.Barrier(8)
    keys = [f"{KEY}{number}" for number in range(10)]
    created: dict[str, bytes] = {}
    found: list[tuple[str, bytes]] = []

    def write(data: bytes) -> None:
        for key in keys:
            start.wait()
            if store.put_new(key, data):
                assert key not in created
                created[key] = data
            else:
                found.append((key, store.get(key)))

    threads = [threading.Thread(target=write, args=(b"%d" % number * 1000,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created == {key: store.get(key) for key in keys}
    assert sorted(found) == sorted((key, created[key]) for key in keys for _ in range(7))


def test_range_is_exactly_what_was_asked_for(store: ObjectStore) -> None:
    store.put_new(KEY, b"0123456789")
    assert store.get_range(KEY, 0, 10) == b"0123456789"
    assert store.get_range(KEY, 3, 4) == b"3456"
    assert store.get_range(KEY, 9, 1) == b"9"
    assert store.get_range(KEY, 4, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(8, 3), (10, 1), (500, 2)])
def test_range_behind_the_end_is_a_corrupt_object(store: ObjectStore, offset: int, length: int) -> None:
    store.put_new(KEY, b"0123456789")
    with pytest.raises(StorageError, match="objects/ab/abcd") as caught:
        store.get_range(KEY, offset, length)
    assert caught.value.code == "object-corrupt"


def test_missing_object_is_not_found(store: ObjectStore) -> None:
    store.put_new(KEY, b"x")
    for missing in ("objects/ab/abce", "objects/zz/zz", f"{KEY}/below", "objects"):
        with pytest.raises(NotFoundError, match=missing) as caught:
            store.get_range(missing, 0, 1)
        assert caught.value.code == "object-not-found"
        with pytest.raises(NotFoundError):
            store.get(missing)


def test_listing_gives_keys_sizes_and_times_below_a_folder(store: ObjectStore) -> None:
    for key, data in {"objects/ab/1": b"1", "objects/ab/2": b"22", "objects/cd/3": b"333", "objects/abc": b"4444"}.items():
        store.put_new(key, data)
    assert {found.key: found.size for found in store.list("objects")} == {"objects/ab/1": 1, "objects/ab/2": 2, "objects/cd/3": 3, "objects/abc": 4}
    below = list(store.list("objects/ab"))
    assert sorted(found.key for found in below) == ["objects/ab/1", "objects/ab/2"]
    assert all(found.modified.tzinfo is dt.UTC and found.modified.year >= 2024 for found in below)
    assert list(store.list("nothing/here")) == []
    assert {found.key for found in store.list("")} >= {"objects/abc", "format"}


def test_listing_is_in_order_and_begins_behind_a_key(store: ObjectStore) -> None:
    keys = ["work/a-b", "work/a/1", "work/a/2/x", "work/a/2/y", "work/a/3", "work/a0", "work/b"]
    for key in reversed(keys):
        store.put_new(key, b"")
    for after in ("", "v", "work", "work/a", "work/a/2", "work/a/2/x", "work/a/2/z", "work/a/3", "work/a/9", "work/b", "x"):
        assert [found.key for found in store.list("work", after=after)] == [key for key in keys if key > after], after
    assert [found.key for found in store.list("work/a", after="work/a/2/x")] == ["work/a/2/y", "work/a/3"]
    assert list(store.list("work/a", after="work/b")) == []


def test_deleted_object_is_gone_and_can_be_deleted_again(store: ObjectStore) -> None:
    store.put_new(KEY, b"x")
    store.delete(KEY)
    store.delete(KEY)
    store.delete("objects/never/was")
    with pytest.raises(NotFoundError):
        store.get(KEY)
    assert store.put_new(KEY, b"y")


def test_many_objects_are_deleted_at_once_those_that_are_not_there_among_them(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore_store, "_DELETED_AT_ONCE", 3)
    keys = [f"work/{number}" for number in range(8)]
    for key in keys:
        store.put_new(key, b"x")
    store.delete()
    store.delete(keys[0], "work/never/was", *keys[2:])
    assert [found.key for found in store.list("work")] == [keys[1]]


def test_only_an_object_older_than_asked_for_is_removed(store: ObjectStore) -> None:
    store.put_new(KEY, b"x")
    (found,) = store.list("objects")
    assert store.remove_older(KEY, found.modified) is False
    assert store.get(KEY) == b"x"
    assert store.remove_older(KEY, found.modified + dt.timedelta(seconds=2)) is True
    assert store.remove_older(KEY, found.modified + dt.timedelta(seconds=2)) is False
    assert list(store.list("objects")) == []
    with pytest.raises(NotFoundError):
        store.get(KEY)
    store.recover()
    assert store.put_new(KEY, b"x")


def test_what_is_kept_says_that_it_is_new_within_the_slack(store: ObjectStore) -> None:
    store.put_new(KEY, b"x")
    before = dt.datetime.now(dt.UTC)
    store.keep(KEY, b"x")
    assert store.remove_older(KEY, before - store.time_slack) is False


def test_reference_names_a_range_of_an_object_by_id(store: ObjectStore) -> None:
    own_id = content_digest(b"0123456789")
    key = object_key(own_id)
    store.put_new(key, b"0123456789")
    assert key == f"objects/{own_id.hex()[:2]}/{own_id.hex()}"
    assert get_ref(store, Ref(own_id, 2, 3)) == b"234"
