"""Marking and sweeping a store, below any record."""

import datetime as dt
import os
import secrets
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.collection import Candidate, sweep, sweep_leftovers, take_inventory
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.folder_store import INCOMING
from pachyderm_dagster.storage.objects import ObjectStore, Ref, object_key
from pachyderm_dagster.storage.reachable import Documents, Reachable, Root
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, HASH_TYPE, content_array, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from tests.storage.faulty import CountingStore

LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


def write_all(store: ObjectStore, data: list[bytes]) -> list[Content]:
    with ContentWriter(store) as writer:
        return [writer.write(one) for one in data]


def tree_of(store: ObjectStore, contents: dict[str, Content]) -> TreeRoot:
    columns = [pa.array(list(contents)), pa.repeat(b"", len(contents)), *content_array(list(contents.values())).flatten()]
    return Trees(store, FILE_ROWS).build(pa.table(columns, schema=FILE_ROWS.schema))


def ids_of(contents: list[Content]) -> set[bytes]:
    return {ref.object for content in contents for ref in content.refs}


def test_nodes_and_every_chunk_of_every_content_are_reached(store: ObjectStore) -> None:
    contents = write_all(store, [b"small", b"", secrets.token_bytes(9_000_000), secrets.token_bytes(1_200_000)])
    root = tree_of(store, {f"{number}": content for number, content in enumerate(contents)})
    assert root.ref is not None
    reached = Reachable(store)
    reached.add_tree(Root(FILE_ROWS, root))
    assert set(reached.objects().to_pylist()) == {root.ref.object, *ids_of(contents)}


def test_an_empty_tree_reaches_nothing(store: ObjectStore) -> None:
    reached = Reachable(store, measure=True)
    reached.add_tree(Root(FILE_ROWS, Trees(store, FILE_ROWS).empty))
    assert len(reached.objects()) == 0
    assert len(reached.live_bytes()) == 0


def test_a_node_is_read_once_in_however_many_trees_it_is(store: ObjectStore) -> None:
    contents = dict(zip((f"{number:05}" for number in range(6000)), write_all(store, [b"%d" % number for number in range(6000)]), strict=True))
    first = tree_of(store, contents)
    trees = Trees(store, FILE_ROWS)
    (new,) = write_all(store, [b"new"])
    columns = [pa.array(["03000"]), pa.array([b""]), *content_array([new]).flatten()]
    second = trees.apply(first, pa.table(columns, schema=FILE_ROWS.schema))
    counted = CountingStore(store)
    reached = Reachable(counted)
    reached.add_tree(Root(FILE_ROWS, first))
    read = counted.bytes_read
    reached.add_tree(Root(FILE_ROWS, second))
    assert counted.bytes_read - read < read / 2
    reached.add_tree(Root(FILE_ROWS, first))
    reached.add_tree(Root(FILE_ROWS, second))
    assert counted.bytes_read - read < read / 2


def test_bytes_that_several_rows_refer_to_count_once(store: ObjectStore) -> None:
    small = write_all(store, [b"a" * 100, b"b" * 50])
    root = tree_of(store, {"1": small[0], "2": small[0], "3": small[1]})
    assert root.ref is not None
    reached = Reachable(store, measure=True)
    reached.add_tree(Root(FILE_ROWS, root))
    reached.add_tree(Root(FILE_ROWS, tree_of(store, {"other": small[0]})))
    live = {row["object"]: row["length"] for row in reached.live_bytes().to_pylist()}
    assert live[small[0].refs[0].object] == 150
    assert live[root.ref.object] == root.ref.length


def test_documents_lead_to_what_they_name(store: ObjectStore) -> None:
    (log,) = write_all(store, [b"said"])
    (document,) = write_all(store, [log.refs[0].object])
    rows = pa.table(
        [
            pa.array(["d"]),
            pa.array([bytes(32)], HASH_TYPE),
            pa.array([1], pa.uint8()),
            pa.array(["job"]),
            pa.array([["f"]], pa.list_(pa.string())),
            content_array([document]),
        ],
        schema=DATUM_ROWS.schema,
    )
    root = Trees(store, DATUM_ROWS).build(rows)
    assert root.ref is not None
    named = Documents(lambda found: contents_of(found.column("details")), lambda data: [Ref(data, 0, 4)])
    reached = Reachable(store)
    reached.add_tree(Root(DATUM_ROWS, root, named))
    assert set(reached.objects().to_pylist()) == {root.ref.object, *ids_of([log, document])}


def test_ids_stay_distinct_however_many_times_they_come(store: ObjectStore) -> None:
    reached = Reachable(store)
    generator = np.random.default_rng(1)
    refs = [Ref(generator.bytes(32), 0, 1) for _ in range(100)]
    for _ in range(50):
        reached.add_refs(refs)
    assert len(reached.objects()) == 100


def test_inventory_tells_what_is_kept_young_and_garbage(folder_store: ObjectStore, tmp_path: Path) -> None:
    # As large as one chunk at least is: of one byte more, chance might make two.
    kept, gone, young = (secrets.token_bytes(MIN_CHUNK_BYTES) for _ in range(3))
    contents = write_all(folder_store, [kept, gone, young])
    for content in contents[:2]:
        os.utime(tmp_path / "store" / object_key(content.hash), (1, 1))
    folder_store.put_new("objects/README", b"not ours")
    reached = Reachable(folder_store, measure=True)
    reached.add_refs(list(contents[0].refs))
    before = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    inventory, candidates = take_inventory(folder_store, reached, before, measure=True)
    assert candidates == [Candidate(contents[1].hash, len(gone))]
    assert (inventory.kept.objects, inventory.kept.size_bytes, inventory.live_bytes) == (1, len(kept), len(kept))
    assert (inventory.young.objects, inventory.sparse.objects) == (1, 0)
    removed = sweep(folder_store, candidates, before, lambda: None)
    assert (removed.objects, removed.size_bytes) == (1, len(gone))
    assert sweep(folder_store, candidates, before, lambda: None).objects == 0
    assert {found.size for found in folder_store.list("objects")} == {len(kept), 8}


def test_leftovers_of_killed_writes_go_once_they_are_old(folder_store: ObjectStore, tmp_path: Path) -> None:
    folder_store.put_new("objects/ab/abcd", b"1")
    leftover = tmp_path / "store" / INCOMING / "half"
    leftover.write_bytes(b"12345")
    old = leftover.stat().st_mtime
    before = dt.datetime.fromtimestamp(old, dt.UTC)
    assert sweep_leftovers(folder_store, before).objects == 0
    assert take_inventory(folder_store, Reachable(folder_store), LATER)[0].leftovers.size_bytes == 5
    assert sweep_leftovers(folder_store, LATER).size_bytes == 5
    assert not leftover.exists()


def test_a_file_that_was_written_long_before_it_gets_its_name_makes_no_object_older(folder_store: ObjectStore, tmp_path: Path) -> None:
    data = b"x" * 1000
    key = object_key(content_digest(data))
    fsync = os.fsync

    def stall(descriptor: int) -> None:
        patch.undo()
        os.utime(descriptor, (1, 1))
        fsync(descriptor)
        folder_store.keep(key, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", stall)
        folder_store.keep(key, data)
    assert (tmp_path / "store" / key).stat().st_mtime > 1
