"""Packs: references, rotation, and the index that a lost database is rebuilt from."""

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.storage.objects import ObjectStore, Ref, get_ref, object_key
from pachyderm_dagster.storage.packs import PackWriter, PendingRanges, find_pack_index
from tests.forking import in_child
from tests.storage.faulty import CountingStore, FillingStore, FullStore, replace_object

BLOBS = [b"first", b"the second", b"3", b"x" * 5000]
IDS = [content_digest(blob) for blob in BLOBS]


def test_many_blobs_become_one_object(store: ObjectStore) -> None:
    counted = CountingStore(store)
    writer = PackWriter(counted)
    refs = [writer.add(blob, own_id) for blob, own_id in zip(BLOBS, IDS, strict=True)]
    assert counted.writes == 0
    writer.flush()
    assert counted.writes == 1
    assert [get_ref(store, ref) for ref in refs] == BLOBS


def test_full_pack_is_stored_and_the_next_begun(store: ObjectStore) -> None:
    writer = PackWriter(store, target_bytes=100)
    blobs = [b"%05d" % number * 8 for number in range(50)]
    refs = [writer.add(blob, content_digest(blob)) for blob in blobs]
    writer.flush()
    assert [get_ref(store, ref) for ref in refs] == blobs
    packs = {ref.object for ref in refs}
    assert len(packs) == 17  # 3 blobs of 40 bytes are the first to reach 100
    assert {found.key for found in store.list("objects")} == {object_key(pack) for pack in packs}


def test_writer_goes_on_after_a_flush(store: ObjectStore) -> None:
    writer = PackWriter(store)
    first = writer.add(b"one", IDS[0])
    writer.flush()
    second = writer.add(b"two", IDS[1])
    writer.flush()
    assert (get_ref(store, first), get_ref(store, second)) == (b"one", b"two")
    assert first.object != second.object


def test_nothing_to_store_stores_nothing(store: ObjectStore) -> None:
    PackWriter(store).flush()
    assert list(store.list("objects")) == []


def test_blob_is_found_before_it_is_stored(store: ObjectStore) -> None:
    writer = PackWriter(store, target_bytes=20)
    refs = [writer.add(blob, own_id) for blob, own_id in zip(BLOBS, IDS, strict=True)]
    found = [writer.find_pending(ref) for ref in refs]
    assert [blob if blob is not None else get_ref(store, ref) for ref, blob in zip(refs, found, strict=True)] == BLOBS
    assert found[-1] == BLOBS[-1]


def test_index_lists_what_the_pack_holds(store: ObjectStore) -> None:
    writer = PackWriter(store)
    refs = [writer.add(blob, own_id) for blob, own_id in zip(BLOBS, IDS, strict=True)]
    writer.flush()
    assert find_pack_index(store, refs[0].object) == list(zip(IDS, refs, strict=True))


@pytest.mark.parametrize("count", [1, 1000])
def test_index_is_read_without_the_blobs_where_the_size_is_known(store: ObjectStore, count: int) -> None:
    writer = PackWriter(store)
    refs = [writer.add(b"x" * 1000, IDS[0]) for _ in range(count)]
    writer.flush()
    (size,) = {found.size for found in store.list("objects")}
    counted = CountingStore(store)
    assert find_pack_index(counted, refs[0].object, size) == [(IDS[0], ref) for ref in refs]
    assert counted.bytes_read <= 16384 + 1000 * 40 + 48


def test_damaged_index_is_a_corrupt_object(store: ObjectStore) -> None:
    writer = PackWriter(store)
    ref = writer.add(b"blob", IDS[0])
    writer.flush()
    key = object_key(ref.object)
    data = store.get(key)
    replace_object(store, key, data[:5] + bytes([data[5] ^ 1]) + data[6:])
    for size in (None, len(data)):
        with pytest.raises(StorageError, match=key) as caught:
            find_pack_index(store, ref.object, size)
        assert caught.value.code == "object-corrupt"


@pytest.mark.parametrize("damage", ["cut", "longer", "magic", "empty"])
def test_object_that_does_not_end_as_a_pack_has_no_index(store: ObjectStore, damage: str) -> None:
    writer = PackWriter(store)
    ref = writer.add(b"blob", IDS[0])
    writer.flush()
    key = object_key(ref.object)
    data = store.get(key)
    damaged = {
        "cut": data[:-1],
        "longer": data + b"\0",
        "magic": data[:-48] + b"X" + data[-47:],
        "empty": b"",
    }[damage]
    replace_object(store, key, damaged)
    for size in (None, len(damaged)):
        assert find_pack_index(store, ref.object, size) is None


def test_index_of_a_missing_pack_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        find_pack_index(store, IDS[0])


def test_failure_to_store_a_pack_in_the_background_is_raised(store: ObjectStore) -> None:
    writer = PackWriter(FullStore(store), target_bytes=1)
    writer.add(b"one", IDS[0])
    writer.add(b"two", IDS[1])
    with pytest.raises(StorageError, match="no room"):
        writer.flush()


def test_failure_stays_until_a_flush_and_the_next_one_stores_everything(store: ObjectStore) -> None:
    filling = FillingStore(store)
    writer = PackWriter(filling, target_bytes=1)
    filling.full = True
    refs = [writer.add(b"one", IDS[0]), writer.add(b"two", IDS[1])]
    for _ in range(2):
        with pytest.raises(StorageError, match="no room"):
            writer.add(b"three", IDS[2])
    with pytest.raises(StorageError, match="no room"):
        writer.flush()
    filling.full = False
    refs.append(writer.add(b"three", IDS[2]))
    writer.flush()
    assert [get_ref(store, ref) for ref in refs] == [b"one", b"two", b"three"]


def test_blobs_of_another_writer_are_taken_over_and_stored_once(store: ObjectStore) -> None:
    counted = CountingStore(store)
    writer, other = PackWriter(counted), PackWriter(counted)
    first = writer.add(BLOBS[0], IDS[0])
    places = [other.add(blob, own_id) for blob, own_id in zip(BLOBS[1:], IDS[1:], strict=True)]
    moved = writer.take_over(other)
    other.flush()
    assert counted.writes == 0
    writer.flush()
    assert counted.writes == 1
    assert [get_ref(store, ref) for ref in (first, *(moved[place] for place in places))] == BLOBS
    assert writer.added_bytes == sum(map(len, BLOBS)) + 4 * 40


def test_pending_blobs_are_read_as_if_they_were_stored(store: ObjectStore) -> None:
    writer = PackWriter(store, target_bytes=20)
    refs = [writer.add(blob, own_id) for blob, own_id in zip(BLOBS, IDS, strict=True)]
    pending = PendingRanges(store, writer)
    assert [get_ref(pending, ref) for ref in refs] == BLOBS
    assert get_ref(pending, Ref(refs[-1].object, refs[-1].offset + 10, 20)) == b"x" * 20
    writer.flush()
    assert [get_ref(pending, ref) for ref in refs] == BLOBS


def test_pending_neighbours_are_read_together(store: ObjectStore) -> None:
    writer = PackWriter(store)
    refs = [writer.add(blob, own_id) for blob, own_id in zip(BLOBS, IDS, strict=True)]
    together = b"".join(BLOBS)
    assert get_ref(PendingRanges(store, writer), Ref(refs[0].object, 2, 14)) == together[2:16]


def test_forked_child_may_not_go_on_with_a_pack(store: ObjectStore) -> None:
    writer = PackWriter(store, target_bytes=4)
    first, second = writer.add(b"begun", IDS[0]), writer.add(b"next", IDS[1])
    assert in_child(lambda: writer.add(b"child", IDS[2])) == "writer-forked"
    assert in_child(lambda: writer.find_pending(first)) == "writer-forked"
    assert in_child(writer.flush) == "writer-forked"
    assert in_child(writer.release) == "writer-forked"
    assert in_child(writer.stop) == "done"
    writer.flush()
    assert [get_ref(store, ref) for ref in (first, second)] == [b"begun", b"next"]
