"""Trees of ordinary size: their format, what operations cost, and damage."""

import random
import struct
import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from pachyderm_dagster.codec import content_digest, digest
from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.nodes import Node, decode_node, node_id
from pachyderm_dagster.storage.objects import ObjectStore, Ref, get_ref, object_key
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.packs import PackWriter, find_pack_index
from pachyderm_dagster.storage.rows import DATUM_ROWS, content_array, contents_of
from pachyderm_dagster.storage.tree_editing import sort_rows
from pachyderm_dagster.storage.trees import FILE_ROWS, TreeRoot, Trees
from tests.storage.faulty import CountingStore, FullStore, flip_byte, replace_object
from tests.storage.tree_rows import SMALL_NODES, file_rows, keys_array, many_sizes, sizes_of

MANY = many_sizes(30_000)


def datum_rows(outputs: dict[str, list[str]], *, state: int = 1, job: str = "j1") -> pa.Table:
    details = [Content(content_digest(key.encode()), 5, (Ref(b"d" * 32, 0, 5),)) for key in outputs]
    columns = [
        pa.array(outputs, pa.string()),
        pa.array([content_digest(key.encode()) for key in outputs], pa.binary(32)),
        pa.array([state] * len(outputs), pa.uint8()),
        pa.array([job] * len(outputs), pa.string()),
        pa.array(outputs.values(), pa.list_(pa.string())),
        content_array(details),
    ]
    return pa.Table.from_arrays(columns, schema=DATUM_ROWS.schema)


def test_roots_are_those_of_format_1() -> None:
    # Written down when format 1 was made: another root for the same rows is another storage format.
    trees = Trees(open_store("memory://"), FILE_ROWS)
    assert trees.empty.id.hex() == "42c299ab4197e36547eae5217216885480103870bcc6f31eb52406287e24e489"
    assert trees.build(file_rows({"a": 1, "a\0b": 2, "é": 3}, datum=b"datum")).id.hex() == "fdc01f958f1965c9c5aa29875003185ac148708f7a8dcba26e2ebe4126d54d46"
    assert trees.build(file_rows(MANY)).id.hex() == "b246c07f9a8db4480dcd169944b1d71ccd21207a48ee2264b3316cca2ca8daed"
    datums = Trees(open_store("memory://"), DATUM_ROWS)
    assert datums.build(datum_rows({"d1": ["a", "b\0c"], "d2": []})).id.hex() == "62b4884577b6f6235c700e7e2ff94ca75890fef2e9fe7a7057bff3fb3d7b4e10"


def test_id_of_a_leaf_is_a_digest_of_its_logical_columns(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows({"é": 3, "a": 1}, datum=b"xyz"))
    hashes = content_digest(b"1") + content_digest(b"3")
    columns = [struct.pack("<2i", 1, 2), "aé".encode(), struct.pack("<2i", 3, 3), b"xyzxyz", struct.pack("<2q", 1, 3), hashes]
    assert root.id == digest("tree:file:0", [struct.pack("<q", 2), *columns])


def test_nodes_have_about_a_thousand_rows(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    leaves = [rows.num_rows for rows in trees.read(trees.build(file_rows(MANY)))]
    assert 15 < len(leaves) < 60
    assert sum(leaves) == len(MANY)


def test_root_of_no_rows_is_the_empty_one(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    root = trees.build(file_rows({"a": 1}))
    assert trees.apply(root, file_rows({}), keys_array(["a"])) == trees.empty == trees.build(file_rows({}))
    assert trees.empty == TreeRoot(trees.empty.id, None, 0, 0)
    assert trees.table(trees.empty).num_rows == 0
    assert trees.apply(trees.empty, file_rows({"a": 1})).id == root.id


def test_trees_of_different_kinds_never_share_an_id() -> None:
    store = open_store("memory://")
    assert Trees(store, FILE_ROWS).empty.id != Trees(store, DATUM_ROWS).empty.id


def test_rows_keep_every_column(store: ObjectStore) -> None:
    rows = file_rows({"b": 20, "a": 10}, place=3, datum=b"a datum")
    trees = Trees(store, FILE_ROWS)
    table = Trees(store, FILE_ROWS).table(trees.build(rows))
    assert table.schema == FILE_ROWS.schema
    assert table.to_pylist() == rows.take([1, 0]).to_pylist()


def test_datum_rows_are_kept_and_compared_with_their_lists(store: ObjectStore) -> None:
    trees = Trees(store, DATUM_ROWS)
    old = trees.build(datum_rows({"d1": ["a", "b"], "d2": [], "d3": ["x"], "d4": ["ab", "c"]}))
    new = trees.build(datum_rows({"d1": ["a", "b"], "d2": ["a"], "d3": ["y"], "d4": ["a", "bc"]}))
    difference = trees.diff(old, new)
    assert difference.old_rows.column("outputs").to_pylist() == [[], ["x"], ["ab", "c"]]
    assert difference.new_rows.column("outputs").to_pylist() == [["a"], ["y"], ["a", "bc"]]
    assert contents_of(trees.table(old).column("details").combine_chunks())[0].hash == content_digest(b"d1")
    assert (old.count, old.size_bytes) == (4, 0)


def test_change_of_any_logical_column_is_a_difference(store: ObjectStore) -> None:
    trees = Trees(store, DATUM_ROWS)
    base = trees.build(datum_rows({"d": ["a"]}))
    for other in (datum_rows({"d": ["a"]}, state=2), datum_rows({"d": ["a"]}, job="j2"), datum_rows({"d": ["a", ""]})):
        changed = trees.build(other)
        assert changed.id != base.id
        assert trees.diff(base, changed).new_rows.num_rows == 1


@pytest.mark.parametrize("changed_rows", [1, 50])
def test_change_writes_one_object_and_reads_what_it_touches(store: ObjectStore, changed_rows: int) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    counted = CountingStore(store)
    keys = sorted(MANY)[10_000 : 10_000 + changed_rows]
    changed = Trees(counted, FILE_ROWS).apply(root, file_rows(dict.fromkeys(keys, 5000)))
    assert changed.count == root.count
    assert counted.writes == 1
    assert counted.reads <= 3  # the root and the leaf, or two if the keys lie astride
    assert counted.bytes_written < 1_000_000
    counted.reads = 0
    assert sizes_of(Trees(counted, FILE_ROWS).diff(root, changed).new_rows) == dict.fromkeys(keys, 5000)
    assert counted.reads <= 6


def test_change_that_changes_nothing_writes_nothing(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    counted = CountingStore(store)
    trees = Trees(counted, FILE_ROWS)
    some = dict(list(MANY.items())[:100])
    assert trees.apply(root, file_rows(some, place=9), keys_array(["not there", "zzz"])) == root
    assert trees.apply(root, file_rows({})) == root
    assert counted.writes == 0


def test_sums_and_hashes_of_folders_do_not_read_their_leaves(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    counted = CountingStore(store)
    trees = Trees(counted, FILE_ROWS)
    assert trees.sums(root, "folder2\0", "folder9\1")[0] == 24_000
    assert trees.range_hash(root, "folder2\0", "folder9\1") != root.id
    assert counted.reads <= 3


def test_reading_goes_leaf_by_leaf_and_stops_when_asked(store: ObjectStore) -> None:
    counted = CountingStore(store)
    trees = Trees(counted, SMALL_NODES, cache_bytes=0)
    root = trees.build(file_rows(MANY))
    counted.bytes_read = 0
    first = next(trees.read(root))
    assert first.num_rows < 100
    assert counted.bytes_read < 6_000_000  # of 30 MB


@pytest.mark.parametrize("cache_bytes", [0, 1_000_000])
def test_cache_is_only_for_speed(store: ObjectStore, cache_bytes: int) -> None:
    trees = Trees(store, SMALL_NODES, cache_bytes=cache_bytes)
    rows = dict(list(MANY.items())[:3000])
    root = trees.apply(trees.build(file_rows(rows)), file_rows({"new": 1}), keys_array(list(rows)[:1000]))
    expected = {**dict(list(rows.items())[1000:]), "new": 1}
    assert sizes_of(trees.table(root)) == expected


@pytest.mark.parametrize("first", [0, 1, 700, 1999])
def test_whole_tree_is_read_after_lookups_have_cached_a_part(store: ObjectStore, first: int) -> None:
    rows = dict(list(MANY.items())[:2000])
    root = Trees(store, SMALL_NODES).build(file_rows(rows))
    trees = Trees(store, SMALL_NODES)
    looked_up = sorted(rows)[first::150]
    assert trees.find(root, keys_array(looked_up)).num_rows == len(looked_up)
    assert sizes_of(trees.table(root)) == rows


def test_several_threads_read_the_same_trees(store: ObjectStore) -> None:
    trees = Trees(store, SMALL_NODES, cache_bytes=100_000)
    rows = dict(list(MANY.items())[:2000])
    root = trees.build(file_rows(rows))
    wrong: list[int] = []

    def read(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(5):
            start, stop = sorted(source.sample(sorted(rows), 2))
            if sizes_of(trees.table(root, start, stop)) != {key: size for key, size in rows.items() if start <= key < stop}:
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_rows_in_any_order_and_any_pieces_make_the_same_tree(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    rows = file_rows(dict(list(MANY.items())[:5000]))
    pieces = pa.concat_tables([rows.slice(3000), rows.slice(0, 1000), rows.slice(1000, 2000)])
    assert trees.build(pieces).id == trees.build(rows.sort_by("key")).id


def test_key_that_occurs_twice_is_refused(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    twice = pa.concat_tables([file_rows({"a": 1, "b": 1}), file_rows({"b": 2})])
    with pytest.raises(ValueError, match="found 'b' twice"):
        trees.build(twice)
    with pytest.raises(ValueError, match="found 'b' twice"):
        trees.apply(trees.empty, twice)


@pytest.mark.parametrize("column", ["key", "hash"])
def test_missing_value_is_refused(store: ObjectStore, column: str) -> None:
    rows = file_rows({"a": 1})
    broken = rows.set_column(rows.column_names.index(column), column, pa.array([None], rows.schema.field(column).type))
    with pytest.raises(ValueError, match="null"):
        Trees(store, FILE_ROWS).build(broken)


READS: list[Callable[[Trees, TreeRoot], object]] = [
    lambda trees, root: trees.table(root),
    lambda trees, root: trees.find(root, keys_array(sorted(MANY)[:1])),
    lambda trees, root: trees.seek(root, ""),
    lambda trees, root: trees.apply(root, file_rows({"": 1})),
    lambda trees, root: trees.diff(trees.empty, root),
]


def leftmost_leaf(store: ObjectStore, root: TreeRoot) -> Ref:
    assert root.ref is not None
    rows = decode_node(FILE_ROWS, get_ref(store, root.ref), root.ref, root.id).rows.slice(0, 1).to_pylist()[0]
    return Ref(rows["object"], rows["offset"], rows["length"])


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("position", [0, 4, 10, 50, 71, 72, 5000])
def test_changed_byte_of_a_leaf_is_found_and_the_object_named(read: Callable[[Trees, TreeRoot], object], position: int) -> None:
    store = open_store("memory://")
    root = Trees(store, FILE_ROWS).build(file_rows(dict(sorted(MANY.items())[:5000])))
    leaf = leftmost_leaf(store, root)
    flip_byte(store, leaf, position)
    with pytest.raises(StorageError, match=object_key(leaf.object)) as caught:
        read(Trees(store, FILE_ROWS), root)
    assert caught.value.code == "object-corrupt"


@pytest.mark.parametrize("length", [-20_000, 0, 40, 2000])
def test_truncated_tree_is_corrupt(store: ObjectStore, length: int) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    assert root.ref is not None
    key = object_key(root.ref.object)
    replace_object(store, key, store.get(key)[: root.ref.offset + length])
    with pytest.raises(StorageError, match=key) as caught:
        Trees(store, FILE_ROWS).table(root)
    assert caught.value.code == "object-corrupt"


def test_another_node_in_a_nodes_place_is_corrupt(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    one, other = trees.build(file_rows({"a": 1})), trees.build(file_rows({"a": 2}))
    with pytest.raises(StorageError, match=one.id.hex()):
        Trees(store, FILE_ROWS).table(TreeRoot(one.id, other.ref, 1, 1))


def test_missing_tree_is_not_found(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    assert root.ref is not None
    store.delete(object_key(root.ref.object))
    with pytest.raises(NotFoundError) as caught:
        Trees(store, FILE_ROWS).table(root)
    assert caught.value.code == "object-not-found"


def test_full_store_is_reported_and_the_old_tree_stays(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    with pytest.raises(StorageError) as caught:
        Trees(FullStore(store), FILE_ROWS).apply(root, file_rows({"new": 1}))
    assert caught.value.code == "storage-full"
    assert Trees(store, FILE_ROWS).table(root).num_rows == len(MANY)


def test_nodes_are_found_in_the_index_of_their_pack(store: ObjectStore) -> None:
    root = Trees(store, FILE_ROWS).build(file_rows(MANY))
    assert root.ref is not None
    nodes = find_pack_index(store, root.ref.object) or []
    assert (root.id, root.ref) in nodes
    assert sum(decode_node(FILE_ROWS, get_ref(store, ref), ref, own_id).rows.num_rows for own_id, ref in nodes[:-1]) == len(MANY)


def test_node_of_version_1_is_read(store: ObjectStore) -> None:
    rows = sort_rows(FILE_ROWS, file_rows({"a": 1, "b": 2}))
    own_id = node_id(FILE_ROWS, Node(0, rows))
    body = rows.serialize().to_pybytes()
    stored = b"PDT\x01" + b"\0" + b"\0\0\0" + own_id + digest("node", [b"\0", own_id, body]) + body
    ref = PackWriter(store).add(stored, own_id)
    store.put_new(object_key(ref.object), stored)
    trees = Trees(store, FILE_ROWS)
    old = TreeRoot(own_id, ref, 2, 3)
    assert trees.table(old).column("key").to_pylist() == ["a", "b"]
    assert trees.apply(old, file_rows({"c": 3})).id == trees.build(file_rows({"a": 1, "b": 2, "c": 3})).id


def test_node_of_a_later_version_is_a_corrupt_object(store: ObjectStore) -> None:
    trees = Trees(store, FILE_ROWS)
    root = trees.build(file_rows({"a": 1}))
    assert root.ref is not None
    key = object_key(root.ref.object)
    data = store.get(key)
    assert data[:4] == b"PDT\x02"
    replace_object(store, key, data[:3] + b"\3" + data[4:])
    with pytest.raises(StorageError, match="not tree node"):
        Trees(store, FILE_ROWS).table(root)
