"""Building and changing trees: only the nodes that an edit touches are read and written, one level after the other."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.nodes import NO_ENTRIES, Node, NodeStore, NodeWriter, closes, index_rows, is_boundary, node_id, refs_of
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.rows import KEY, TreeKind
from pachyderm_dagster.storage.tree_reading import Child, TreeRoot, cover, empty_root, first_not_below, next_child

_NODES_AT_ONCE = 32
_DROPPED_AT_ONCE = 1 << 15
# About how many rows are filtered and sorted in the time in which one is searched for.
_ROWS_PER_SEARCH = 16
_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Edits:
    """Changes to the rows of one level: `put` replaces what has its keys. All keys are sorted and unique."""

    dropped: Sequence[str]
    put: pa.RecordBatch


def build_tree(nodes: NodeStore, rows: pa.RecordBatch, packs: PackWriter) -> TreeRoot:
    """The tree of `rows`, which are sorted and unique by key. Its nodes go into `packs`, which the caller flushes."""
    writer = NodeWriter(nodes, packs)
    return _raise_root(nodes, writer, _write_nodes(nodes, writer, 0, rows, closes(nodes.kind, rows.column(KEY), 0), {}), 0)


def apply_edits(nodes: NodeStore, root: TreeRoot, put: pa.RecordBatch, dropped: Sequence[str], packs: PackWriter) -> TreeRoot:
    """The tree after `dropped` keys went and `put` rows came (both sorted and unique). Its nodes go into `packs`, which the caller flushes."""
    if root.ref is None:
        return build_tree(nodes, put, packs)
    writer = NodeWriter(nodes, packs)
    edits = _Edits(dropped, put)
    top = nodes.load(root.ref, root.id).level
    for level in range(top + 1):
        touched, entries = _edit_level(nodes, writer, root, level, edits)
        if [child.id for child in touched] == entries.column("id").to_pylist():
            return root  # every row put was there already, no row dropped was
        edits = _Edits([child.key for child in touched], entries)
    return _raise_root(nodes, writer, edits.put, top)


def sort_rows(kind: TreeKind, rows: pa.Table) -> pa.RecordBatch:
    """`rows` in the form of `kind`, sorted by key.

    Raises:
        ValueError: when a key occurs twice or is null.
    """
    batch = order_rows(kind, rows)
    keys = batch.column(KEY)
    if keys.null_count:
        raise ValueError("rows of a tree need a key; found null")
    if not _rises(keys):
        twice = pc.filter(keys.slice(1), pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)))
        raise ValueError(f"keys of a tree are unique; found {twice[0].as_py()!r} twice")
    return batch


def order_rows(kind: TreeKind, rows: pa.Table) -> pa.RecordBatch:
    """`rows` in the form of `kind`, sorted by key, which may occur twice."""
    rows = rows.select(kind.schema.names)
    batches = (rows if rows.schema == kind.schema else rows.cast(kind.schema)).combine_chunks().to_batches()
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=kind.schema)
    (batch,) = batches
    return batch if _rises(batch.column(KEY)) else batch.take(pc.sort_indices(batch.column(KEY)))


def edits_in_order(kind: TreeKind, batches: Iterable[pa.RecordBatch], dropped: pa.StringArray) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """What to put and to drop, one stretch of keys after the other, each for one call of `apply_edits`.

    Args:
        batches: rows to put, in the order of their keys.
        dropped: sorted and unique.

    Raises:
        ValueError: when the keys of the rows do not ascend.
    """
    last: str | None = None
    done = 0
    for rows in batches:
        put = sort_rows(kind, pa.Table.from_batches([rows]))
        keys = put.column(KEY)
        if last is not None and keys[0].as_py() <= last:
            raise ValueError(f"rows come in the order of their keys, which are unique; found {keys[0].as_py()!r} behind {last!r}")
        last = keys[-1].as_py()
        stop = bisect_right(range(len(dropped)), last, done, key=lambda place: dropped[place].as_py())
        while stop - done > _DROPPED_AT_ONCE:
            yield put.slice(0, 0), dropped.slice(done, _DROPPED_AT_ONCE).to_pylist()
            done += _DROPPED_AT_ONCE
        yield put, dropped.slice(done, stop - done).to_pylist()
        done = stop
    for start in range(done, len(dropped), _DROPPED_AT_ONCE):
        yield pa.RecordBatch.from_pylist([], schema=kind.schema), dropped.slice(start, _DROPPED_AT_ONCE).to_pylist()


def _rises(keys: pa.Array) -> bool:
    return len(keys) < 2 or bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py())


def _raise_root(nodes: NodeStore, writer: NodeWriter, entries: pa.RecordBatch, level: int) -> TreeRoot:
    """The root above the nodes of a level, given by their entries. It is the lowest node that has all rows below it."""
    while entries.num_rows > 1:
        level += 1
        entries = _write_nodes(nodes, writer, level, entries, closes(nodes.kind, entries.column(KEY), level), {})
    if not entries.num_rows:
        return empty_root(nodes.kind)
    while level:
        (ref,) = refs_of(entries)
        below = writer.load(ref, entries.column("id")[0].as_py()).rows
        if below.num_rows > 1:
            break
        entries = below
        level -= 1
    (ref,) = refs_of(entries)
    own_id, count, size_bytes = (entries.column(name)[0].as_py() for name in ("id", "count", "size_bytes"))
    return TreeRoot(own_id, ref, count, size_bytes)


def _edit_level(nodes: NodeStore, writer: NodeWriter, root: TreeRoot, level: int, edits: _Edits) -> tuple[list[Child], pa.RecordBatch]:
    """Rewrites the nodes of a level that `edits` touch; returns them and the entries of those that take their place."""
    put_keys = edits.put.column(KEY).to_pylist()
    gone = set(edits.dropped).difference(put_keys)
    changed = sorted(gone.union(put_keys))
    put_closes = closes(nodes.kind, edits.put.column(KEY), level)
    touched: list[Child] = []
    entries = [NO_ENTRIES]
    done = put_done = 0
    for group in _groups(_touched(nodes, root, level, changed, gone)):
        last = group[-1]
        stop = len(changed) if last.final else bisect_right(changed, last.key, done)
        put_stop = len(put_keys) if last.final else bisect_right(put_keys, last.key, put_done)
        put = slice(put_done, put_stop)
        rows, ends = _merge(nodes, level, group, changed[done:stop], edits.put.slice(put_done, put_stop - put_done), put_closes[put])
        entries.append(_write_nodes(nodes, writer, level, rows, ends, {child.id: child.ref for child in group}))
        touched.extend(group)
        done, put_done = stop, put_stop
    return touched, pa.concat_batches(entries)


@dataclass(frozen=True, slots=True)
class _Touched:
    """A node to rewrite; `open_end` says that its boundary goes, so that it may flow into the next, which then is touched too."""

    child: Child
    open_end: bool


def _touched(nodes: NodeStore, root: TreeRoot, level: int, changed: Sequence[str], gone: set[str]) -> Iterator[_Touched]:
    """The nodes that hold changed keys, and those that follow one whose last key is gone."""
    last = ""
    for covering in cover(nodes, root, level, changed):
        child: Child | None = covering.child
        if last and covering.child.key <= last:
            continue  # it followed another one
        while child is not None:
            open_end = not child.final and child.key in gone
            yield _Touched(child, open_end)
            last = child.key
            child = next_child(nodes, root, level, child.key) if open_end else None


def _groups(touched: Iterator[_Touched]) -> Iterator[list[Child]]:
    """Nodes to rewrite together: never parted behind an open end."""
    group: list[Child] = []
    for one in touched:
        group.append(one.child)
        if len(group) >= _NODES_AT_ONCE and not one.open_end:
            yield group
            group = []
    if group:
        yield group


def _merge(
    nodes: NodeStore, level: int, group: Sequence[Child], changed: Sequence[str], put: pa.RecordBatch, put_closes: _Flags
) -> tuple[pa.RecordBatch, _Flags]:
    """The rows of a group of nodes after the changes, sorted, and after which of them a node ends."""
    parts = [node.rows for node in nodes.load_many([child.ref for child in group], [child.id for child in group])]
    rows = pa.concat_batches(parts)
    ends = np.cumsum([part.num_rows for part in parts]) - 1
    flags = np.zeros(rows.num_rows, dtype=np.bool_)
    keys = rows.column(KEY)
    flags[ends] = [is_boundary(nodes.kind, keys[end].as_py(), level) for end in ends.tolist()]  # the last node of a level need not end with a boundary
    if len(changed) * _ROWS_PER_SEARCH <= rows.num_rows:
        return _splice(rows, flags, changed, put, put_closes)
    kept = pc.invert(pc.is_in(keys, value_set=pa.array(changed, pa.string())))
    rows = pa.concat_batches([rows.filter(kept), put])
    flags = np.concatenate([flags[kept.to_numpy(zero_copy_only=False)], put_closes])
    order = pc.sort_indices(rows.column(KEY))
    return rows.take(order), flags[order.to_numpy()]


def _splice(rows: pa.RecordBatch, flags: _Flags, changed: Sequence[str], put: pa.RecordBatch, put_closes: _Flags) -> tuple[pa.RecordBatch, _Flags]:
    """`rows`, which are sorted, after few changes, and `flags` beside them."""
    keys = rows.column(KEY)
    put_keys = put.column(KEY).to_pylist()
    pieces, flag_pieces = [], []
    done = put_done = 0
    for key in changed:
        position = first_not_below(keys, key, done)
        pieces.append(rows.slice(done, position - done))
        flag_pieces.append(flags[done:position])
        if put_done < len(put_keys) and put_keys[put_done] == key:
            pieces.append(put.slice(put_done, 1))
            flag_pieces.append(put_closes[put_done : put_done + 1])
            put_done += 1
        done = position + (position < len(keys) and keys[position].as_py() == key)
    pieces.append(rows.slice(done))
    flag_pieces.append(flags[done:])
    return pa.concat_batches(pieces), np.concatenate(flag_pieces)


def _write_nodes(nodes: NodeStore, writer: NodeWriter, level: int, rows: pa.RecordBatch, flags: _Flags, known: Mapping[bytes, Ref]) -> pa.RecordBatch:
    """Stores `rows`, cut after the flagged ones, as nodes of a level, but for those `known` by their id; returns their entries."""
    ends = np.flatnonzero(flags) + 1
    if rows.num_rows and (not len(ends) or ends[-1] != rows.num_rows):
        ends = np.append(ends, rows.num_rows)
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    ids, refs = [], []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        node = Node(level, rows.slice(start, end - start))
        own_id = node_id(nodes.kind, node)
        ids.append(own_id)
        refs.append(known.get(own_id) or writer.write(node, own_id))
    counts = _sums(rows, "count", starts) if level else ends - starts
    sizes_of = "size_bytes" if level else nodes.kind.bytes_column
    sizes = _sums(rows, sizes_of, starts) if sizes_of else np.zeros(len(ids), dtype=np.int64)
    return index_rows(rows.column(KEY).take(pa.array(ends - 1)), ids, refs, counts.tolist(), sizes.tolist())


def _sums(rows: pa.RecordBatch, name: str, starts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    values = rows.column(name).to_numpy(zero_copy_only=False)
    return np.add.reduceat(values, starts) if len(starts) else np.zeros(0, dtype=np.int64)
