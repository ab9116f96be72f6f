"""Reading trees: rows in key order, lookups, and what parents know without reading leaves."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.storage.nodes import INDEX_SCHEMA, NO_ENTRIES, Node, NodeStore, index_rows, node_id
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, Ref, damaged_root
from pachyderm_dagster.storage.rows import HASH_TYPE, KEY, TreeKind

# The columns object, offset and length of an entry for a node that is not stored.
_NOWHERE = index_rows(pa.array([""]), [bytes(OBJECT_ID_BYTES)], [Ref(bytes(OBJECT_ID_BYTES), 0, 0)], [0], [0]).columns[2:5]


class TreeRoot(msgspec.Struct, frozen=True, array_like=True):
    """A tree, by its root: all that has to be remembered of it elsewhere.

    Args:
        id: equal exactly when the rows are (in their logical columns), 32 bytes.
        ref: where the root node is; None for a tree of no rows.
        count: the number of rows.
        size_bytes: the sum of the kind's bytes column, 0 if it has none.
    """

    id: bytes
    ref: Ref | None
    count: int
    size_bytes: int

    def encode(self) -> bytes:
        """The root as bytes, for a column of a database."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The root that `encode` gave.

        Raises:
            StorageError: `root-damaged`.
        """
        try:
            root = msgspec.msgpack.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise damaged_root("tree", str(error)) from error
        if len(root.id) != DIGEST_BYTES or (root.ref is not None and len(root.ref.object) != OBJECT_ID_BYTES):
            raise damaged_root("tree", "an id of the wrong length")
        return root


@dataclass(frozen=True, slots=True)
class Child:
    """A node as its parent knows it; `final` says that no node of its level follows."""

    key: str
    id: bytes
    ref: Ref
    final: bool


@dataclass(frozen=True, slots=True)
class Covering:
    """A node and the positions `start` to `stop` of the keys, among those asked for, that belong into it."""

    child: Child
    start: int
    stop: int


def empty_root(kind: TreeKind) -> TreeRoot:
    """The tree of no rows."""
    return TreeRoot(node_id(kind, Node(0, pa.RecordBatch.from_pylist([], schema=kind.schema))), None, 0, 0)


def decode_root(kind: TreeKind, encoded: bytes | None) -> TreeRoot:
    """The root that a column of the database holds; that of no rows for None, which stands for it there."""
    return empty_root(kind) if encoded is None else TreeRoot.decode(encoded)


def read_leaves(nodes: NodeStore, root: TreeRoot, start: str | None, stop: str | None) -> Iterator[pa.RecordBatch]:
    """The rows with start <= key < stop, a leaf at a time."""
    if root.ref is not None:
        yield from _leaves_below(nodes, nodes.load(root.ref, root.id), start, stop)


def _leaves_below(nodes: NodeStore, node: Node, start: str | None, stop: str | None) -> Iterator[pa.RecordBatch]:
    if node.level == 0:
        rows = _rows_between(node.rows, start, stop)
        if rows.num_rows:
            yield rows
        return
    for child in nodes.load_children(_entries_between(node.rows, start, stop)):
        yield from _leaves_below(nodes, child, start, stop)


def find_ranges(nodes: NodeStore, root: TreeRoot, ranges: Sequence[tuple[str, str]]) -> Iterator[pa.RecordBatch]:
    """The rows with start <= key < stop of any of these ranges, which are sorted and do not overlap; a leaf at a time, each node once."""
    if root.ref is not None and ranges:
        yield from _ranges_below(nodes, nodes.load(root.ref, root.id), ranges)


def _ranges_below(nodes: NodeStore, node: Node, ranges: Sequence[tuple[str, str]]) -> Iterator[pa.RecordBatch]:
    keys = node.rows.column(KEY).to_pylist()
    bounds = [(bisect_left(keys, start), bisect_left(keys, stop)) for start, stop in ranges]
    if node.level == 0:
        yield node.rows.take(pa.array([position for first, end in bounds for position in range(first, end)], pa.int64()))
        return
    # A key that is above the last one of a child and not above that of the next belongs into the next.
    touched: dict[int, list[tuple[str, str]]] = {}
    for wanted, (first, end) in zip(ranges, bounds, strict=True):
        for position in range(first, min(end + 1, len(keys))):
            touched.setdefault(position, []).append(wanted)
    children = nodes.load_children(node.rows.take(pa.array(list(touched), pa.int64())))
    for child, below in zip(children, touched.values(), strict=True):
        yield from _ranges_below(nodes, child, below)


def find_rows(nodes: NodeStore, root: TreeRoot, keys: Sequence[str]) -> list[pa.RecordBatch]:
    """The rows with one of `keys`, which are sorted and unique."""
    covered = cover(nodes, root, 0, keys) if keys else []
    found = []
    leaves = nodes.load_many([covering.child.ref for covering in covered], [covering.child.id for covering in covered])
    for covering, leaf in zip(covered, leaves, strict=True):
        wanted = pa.array(keys[covering.start : covering.stop], pa.string())
        found.append(leaf.rows.filter(pc.is_in(leaf.rows.column(KEY), value_set=wanted)))
    return found


def cover(nodes: NodeStore, root: TreeRoot, level: int, keys: Sequence[str]) -> list[Covering]:
    """The nodes of a level into which sorted `keys` belong, in order; a key behind the last row belongs into the last node."""
    if root.ref is None:
        return []
    covered = [Covering(Child("", root.id, root.ref, final=True), 0, len(keys))]
    for _ in range(nodes.load(root.ref, root.id).level - level):
        covered = [below for above in covered for below in _cover_below(nodes, above, keys)]
    return covered


def _cover_below(nodes: NodeStore, above: Covering, keys: Sequence[str]) -> Iterator[Covering]:
    rows = nodes.load(above.child.ref, above.child.id).rows
    last_keys = rows.column(KEY)
    start = above.start
    position = 0
    while start < above.stop:
        position = min(first_not_below(last_keys, keys[start], position), len(last_keys) - 1)
        child = _child_at(rows, position, final=above.child.final)
        stop = above.stop if child.final else bisect_right(keys, child.key, start, above.stop)
        yield Covering(child, start, stop)
        start = stop


def next_child(nodes: NodeStore, root: TreeRoot, level: int, after: str) -> Child | None:
    """The first node of a level whose last key is greater than `after`."""
    if root.ref is None:
        return None
    child = Child("", root.id, root.ref, final=True)
    node = nodes.load(child.ref, child.id)
    while node.level > level:
        position = bisect_right(node.rows.column(KEY).to_pylist(), after)
        if position == node.rows.num_rows:
            return None
        child = _child_at(node.rows, position, final=child.final)
        if node.level == level + 1:
            break
        node = nodes.load(child.ref, child.id)
    return child


def _child_at(entries: pa.RecordBatch, position: int, *, final: bool) -> Child:
    """The child at a position; `final` says that of the parent."""
    key, own_id, *place = (entries.column(name)[position].as_py() for name in (KEY, "id", "object", "offset", "length"))
    return Child(key, own_id, Ref(*place), final=final and position == entries.num_rows - 1)


def seek_key(nodes: NodeStore, root: TreeRoot, key: str) -> str | None:
    """The first key that is not below `key`."""
    if root.ref is None:
        return None
    node = nodes.load(root.ref, root.id)
    while True:
        keys = node.rows.column(KEY)
        position = first_not_below(keys, key)
        if position == len(keys):
            return None
        if node.level == 0:
            return str(keys[position].as_py())
        child = _child_at(node.rows, position, final=False)
        node = nodes.load(child.ref, child.id)


def sum_rows(nodes: NodeStore, root: TreeRoot, start: str | None, stop: str | None) -> tuple[int, int]:
    """The number of rows with start <= key < stop and their size in bytes; reads only the nodes that the bounds cut."""
    if root.ref is None or (start is None and stop is None):
        return root.count, root.size_bytes
    return _sum_below(nodes, nodes.load(root.ref, root.id), start, stop)


def _sum_below(nodes: NodeStore, node: Node, start: str | None, stop: str | None) -> tuple[int, int]:
    if node.level == 0:
        return totals(nodes.kind, 0, _rows_between(node.rows, start, stop))
    parts = _divide(node.rows, start, stop)
    sums = [totals(nodes.kind, node.level, parts.whole)]
    sums += [_sum_below(nodes, child, *bounds) for child, bounds in parts.cut_children(nodes)]
    return sum(count for count, _ in sums), sum(size for _, size in sums)


def totals(kind: TreeKind, level: int, rows: pa.RecordBatch) -> tuple[int, int]:
    """The number of a tree's rows in (level 0) or below (higher levels) `rows`, and their size in bytes."""
    if level:
        return _sum(rows.column("count")), _sum(rows.column("size_bytes"))
    return rows.num_rows, _sum(rows.column(kind.bytes_column)) if kind.bytes_column else 0


def _sum(column: pa.Array) -> int:
    return int(column.to_numpy().sum())


@dataclass(frozen=True, slots=True)
class Summary:
    """What a range of a tree holds: its number of rows, their size in bytes, and the id that a tree of only these has."""

    count: int
    size_bytes: int
    id: bytes


def summarize(nodes: NodeStore, root: TreeRoot, start: str | None, stop: str | None) -> Summary:
    """What is in start <= key < stop; reads only the nodes that the bounds cut."""
    if root.ref is None or (start is None and stop is None):
        return Summary(root.count, root.size_bytes, root.id)
    made: dict[bytes, Node] = {}
    entry = _entry_of_part(nodes, nodes.load(root.ref, root.id), start, stop, made)
    if not entry.num_rows:
        return Summary(0, 0, empty_root(nodes.kind).id)
    count, size_bytes, own_id = (entry.column(name)[0].as_py() for name in ("count", "size_bytes", "id"))
    node = made[own_id]
    while node.level and node.rows.num_rows == 1:  # a root has two children or is a leaf
        own_id = node.rows.column("id")[0].as_py()
        node = made.get(own_id) or next(nodes.load_children(node.rows))
    return Summary(count, size_bytes, own_id)


def _entry_of_part(nodes: NodeStore, node: Node, start: str | None, stop: str | None, made: dict[bytes, Node]) -> pa.RecordBatch:
    """The entry (or none, if nothing is in range) of the node that takes the place of `node` in a tree of the range; the node itself goes to `made`.

    Nodes end after keys alone, so cutting rows off at one side leaves all other boundaries where they are.
    """
    if node.level == 0:
        rows = _rows_between(node.rows, start, stop)
    else:
        parts = _divide(node.rows, start, stop)
        cut = [_entry_of_part(nodes, child, *bounds, made) for child, bounds in parts.cut_children(nodes)]
        head = cut[: parts.head.num_rows]
        rows = pa.concat_batches([*head, parts.whole, *cut[len(head) :]])
    if not rows.num_rows:
        return NO_ENTRIES
    part = Node(node.level, rows)
    own_id = node_id(nodes.kind, part)
    made[own_id] = part
    count, size_bytes = totals(nodes.kind, node.level, rows)
    columns = [rows.column(KEY).slice(rows.num_rows - 1), pa.array([own_id], HASH_TYPE), *_NOWHERE, pa.array([count]), pa.array([size_bytes])]
    return pa.RecordBatch.from_arrays(columns, schema=INDEX_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The entries of an index node that a range touches: at most one that `start` cuts, those wholly inside, at most one that `stop` cuts."""

    head: pa.RecordBatch
    whole: pa.RecordBatch
    tail: pa.RecordBatch
    start: str | None
    stop: str | None

    def cut_children(self, nodes: NodeStore) -> Iterator[tuple[Node, tuple[str | None, str | None]]]:
        """The cut children with the bounds that cut each."""
        for child in nodes.load_children(self.head):
            yield child, (self.start, None if self.tail.num_rows else self.stop)
        for child in nodes.load_children(self.tail):
            yield child, (None, self.stop)


def _divide(entries: pa.RecordBatch, start: str | None, stop: str | None) -> _Parts:
    touched = _entries_between(entries, start, stop)
    heads = 1 if start is not None and touched.num_rows else 0
    tails = 1 if stop is not None and touched.num_rows > heads else 0
    end = touched.num_rows - tails
    return _Parts(touched.slice(0, heads), touched.slice(heads, end - heads), touched.slice(end), start, stop)


def _entries_between(entries: pa.RecordBatch, start: str | None, stop: str | None) -> pa.RecordBatch:
    keys = entries.column(KEY)
    first = 0 if start is None else first_not_below(keys, start)
    end = len(keys) if stop is None else min(first_not_below(keys, stop) + 1, len(keys))
    return entries.slice(first, max(end - first, 0))


def _rows_between(rows: pa.RecordBatch, start: str | None, stop: str | None) -> pa.RecordBatch:
    keys = rows.column(KEY)
    first = 0 if start is None else first_not_below(keys, start)
    end = len(keys) if stop is None else first_not_below(keys, stop)
    return rows.slice(first, max(end - first, 0))


def first_not_below(keys: pa.Array, key: str, start: int = 0) -> int:
    """The position, not before `start`, of the first of some sorted keys that is not below `key`; their number when all are."""
    return bisect_left(range(len(keys)), key, start, key=lambda position: keys[position].as_py())
