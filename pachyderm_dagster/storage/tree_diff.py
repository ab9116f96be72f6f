"""The difference of two trees: subtrees of equal id are not read."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.nodes import NO_ENTRIES, NodeStore, index_rows
from pachyderm_dagster.storage.rows import KEY, TreeKind
from pachyderm_dagster.storage.tree_reading import TreeRoot

_Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """Rows that one tree has and the other has not, or has otherwise (in a logical column); both sorted by key.

    A changed key is in both tables, a deleted one in `old_rows` only, an added one in `new_rows` only.
    """

    old_rows: pa.Table
    new_rows: pa.Table


def diff_trees(nodes: NodeStore, old: TreeRoot, new: TreeRoot, most_rows: int | None = None) -> TreeDiff | None:
    """What changed from `old` to `new`; cost follows the number of nodes that differ.

    None when more than `most_rows` rows would have to be compared for that.
    """
    before, after = _Frontier.at_root(nodes, old), _Frontier.at_root(nodes, new)
    while True:
        if before.level > after.level:
            before = before.children(nodes)
            continue
        if after.level > before.level:
            after = after.children(nodes)
            continue
        before, after = before.without(after), after.without(before)
        if most_rows is not None and max(len(before.entries), len(after.entries)) > most_rows:
            return None
        if before.level == 0:
            if most_rows is not None and before.count + after.count > most_rows:
                return None
            return _diff_rows(nodes.kind, before.rows(nodes), after.rows(nodes))
        before, after = before.children(nodes), after.children(nodes)


@dataclass(frozen=True, slots=True)
class _Frontier:
    """Nodes of one level of a tree, as entries of `INDEX_SCHEMA`, that may differ from the other tree's."""

    level: int
    entries: pa.RecordBatch

    @classmethod
    def at_root(cls, nodes: NodeStore, root: TreeRoot) -> "_Frontier":
        if root.ref is None:
            return cls(0, NO_ENTRIES)
        entry = index_rows(pa.array([""]), [root.id], [root.ref], [root.count], [root.size_bytes])
        return cls(nodes.load(root.ref, root.id).level, entry)

    @property
    def count(self) -> int:
        """The number of rows below these nodes."""
        return int(self.entries.column("count").to_numpy().sum())

    def children(self, nodes: NodeStore) -> "_Frontier":
        below = [node.rows for node in nodes.load_children(self.entries)]
        return _Frontier(self.level - 1, pa.concat_batches(below) if below else self.entries)

    def without(self, other: "_Frontier") -> "_Frontier":
        common = pc.is_in(self.entries.column("id"), value_set=other.entries.column("id"))
        return _Frontier(self.level, self.entries.filter(pc.invert(common)))

    def rows(self, nodes: NodeStore) -> pa.RecordBatch:
        leaves: Iterator[pa.RecordBatch] = (node.rows for node in nodes.load_children(self.entries))
        return pa.concat_batches([pa.RecordBatch.from_pylist([], schema=nodes.kind.schema), *leaves])


def _diff_rows(kind: TreeKind, old: pa.RecordBatch, new: pa.RecordBatch) -> TreeDiff:
    if old.column(KEY).equals(new.column(KEY)):
        # Nothing came or went, which needs no search.
        differ = np.flatnonzero(~_all_equal(kind, old, new))
        return TreeDiff(pa.Table.from_batches([old.take(differ)]), pa.Table.from_batches([new.take(differ)]))
    position = pc.index_in(old.column(KEY), value_set=new.column(KEY))
    in_both = pc.indices_nonzero(pc.is_valid(position))
    partner = position.take(in_both)
    equal = _all_equal(kind, old.take(in_both), new.take(partner))
    return TreeDiff(_table_without(old, in_both, equal), _table_without(new, partner, equal))


def _table_without(rows: pa.RecordBatch, positions: pa.Array, dropped: _Flags) -> pa.Table:
    kept = np.ones(rows.num_rows, dtype=np.bool_)
    kept[positions.to_numpy()[dropped]] = False
    return pa.Table.from_batches([rows.take(np.flatnonzero(kept))])


def _all_equal(kind: TreeKind, old: pa.RecordBatch, new: pa.RecordBatch) -> _Flags:
    """For rows that have the same keys, whether they are equal in all logical columns."""
    equal = np.ones(old.num_rows, dtype=np.bool_)
    for name in kind.logical:
        if name != KEY:
            equal &= _equal(old.column(name), new.column(name))
    return equal


def _equal(left: pa.Array, right: pa.Array) -> _Flags:
    """Element for element; lists (which Arrow does not compare) by length and then by their elements."""
    if not pa.types.is_list(left.type):
        return np.asarray(pc.equal(left, right).to_numpy(zero_copy_only=False))
    lengths = left.value_lengths().to_numpy(zero_copy_only=False)
    equal = np.asarray(lengths == right.value_lengths().to_numpy(zero_copy_only=False))
    comparable = pa.array(equal)
    elements = _equal(left.filter(comparable).flatten(), right.filter(comparable).flatten())
    wrong_before = np.concatenate([[0], np.cumsum(~elements)])
    ends = np.cumsum(lengths[equal])
    equal[equal] = wrong_before[ends] == wrong_before[ends - lengths[equal]]
    return equal
