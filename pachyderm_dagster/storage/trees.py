"""Trees: immutable sorted maps from key to row (prolly trees), whose root id says what is in them.

Cost of a change, a difference or a lookup follows what it touches. Several threads may use one `Trees`.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.memory import give_back
from pachyderm_dagster.storage.nodes import NodeCache, NodeStore
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.packs import PackWriter, PendingRanges
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, TreeKind
from pachyderm_dagster.storage.tree_diff import TreeDiff, diff_trees
from pachyderm_dagster.storage.tree_editing import apply_edits, build_tree, edits_in_order, sort_rows
from pachyderm_dagster.storage.tree_reading import Summary, TreeRoot, empty_root, find_ranges, find_rows, read_leaves, seek_key, sum_rows, summarize

__all__ = ["DATUM_ROWS", "FILE_ROWS", "TreeDiff", "TreeKind", "TreeRoot", "Trees"]

_CACHE_BYTES = 64 * 1024 * 1024


class Trees:
    """The trees of one kind in a store.

    Every method that reads raises `NotFoundError` `object-not-found` and `StorageError` `object-corrupt`; those that write, what `ObjectStore.put_new` raises.
    A range is `start` <= key < `stop`, None for no bound.

    Args:
        nodes: where the nodes are read from, if not from the store alone.
    """

    def __init__(self, store: ObjectStore, kind: TreeKind, cache_bytes: int = _CACHE_BYTES, *, nodes: NodeStore | None = None) -> None:
        self.kind = kind
        self.store = store
        self._nodes = nodes or NodeStore(store, kind, NodeCache(cache_bytes))

    @functools.cached_property
    def empty(self) -> TreeRoot:
        """The tree of no rows."""
        return empty_root(self.kind)

    def decode(self, encoded: bytes | None) -> TreeRoot:
        """As `decode_root`."""
        return self.empty if encoded is None else TreeRoot.decode(encoded)

    def pending(self, packs: PackWriter) -> "Trees":
        """The same trees, for one thread, with those among them that are in `packs` and not stored yet."""
        return Trees(self.store, self.kind, nodes=NodeStore(PendingRanges(self.store, packs), self.kind, self._nodes.cache))

    def build(self, rows: pa.Table, packs: PackWriter | None = None) -> TreeRoot:
        """The tree of `rows`, in any order; durable on return, or when `packs`, into which its nodes go, are flushed.

        Raises:
            ValueError: when a key occurs twice.
        """
        with self._packs(packs) as into:
            return build_tree(self._nodes, sort_rows(self.kind, rows), into)

    def apply(self, root: TreeRoot, upserts: pa.Table, deletes: pa.Array | None = None, packs: PackWriter | None = None) -> TreeRoot:
        """The tree after `deletes` (keys; unknown ones are fine) went and `upserts` came; durable on return, or when `packs` are flushed.

        Raises:
            ValueError: when a key occurs twice in `upserts`.
        """
        dropped = [] if deletes is None or not len(deletes) else _sorted_keys(deletes)
        with self._packs(packs) as into:
            return apply_edits(self._nodes, root, sort_rows(self.kind, upserts), dropped, into)

    def merge(self, root: TreeRoot, rows: Iterable[pa.RecordBatch], deletes: pa.Array | None = None) -> TreeRoot:
        """As `apply`, for any number of rows, which come in the order of their keys: some batches and the keys to delete are in memory.

        Raises:
            ValueError: when the keys of `rows` do not ascend.
        """
        dropped = pa.array([], pa.string()) if deletes is None else pc.unique(deletes.cast(pa.string()))
        with self._packs(None) as into:
            nodes = NodeStore(PendingRanges(self.store, into), self.kind, self._nodes.cache)
            for put, gone in edits_in_order(self.kind, rows, dropped.take(pc.sort_indices(dropped))):
                root = apply_edits(nodes, root, put, gone, into)
                give_back()
        return root

    def read(self, root: TreeRoot, start: str | None = None, stop: str | None = None) -> Iterator[pa.Table]:
        """The rows of a range in key order, a leaf (about a thousand) at a time, read as they are asked for."""
        for rows in read_leaves(self._nodes, root, start, stop):
            yield pa.Table.from_batches([rows])

    def table(self, root: TreeRoot, start: str | None = None, stop: str | None = None) -> pa.Table:
        """The rows of a range in key order."""
        return pa.Table.from_batches(read_leaves(self._nodes, root, start, stop), schema=self.kind.schema)

    def ranges(self, root: TreeRoot, ranges: Sequence[tuple[str, str]]) -> pa.Table:
        """The rows with start <= key < stop of any of these ranges, which are sorted and do not overlap, in key order."""
        return pa.Table.from_batches(find_ranges(self._nodes, root, ranges), schema=self.kind.schema)

    def find(self, root: TreeRoot, keys: pa.Array) -> pa.Table:
        """The rows with one of `keys`, in key order; keys without a row are left out."""
        return pa.Table.from_batches(find_rows(self._nodes, root, _sorted_keys(keys)), schema=self.kind.schema)

    def seek(self, root: TreeRoot, key: str) -> str | None:
        """The first key that is not below `key`; None if all are."""
        return seek_key(self._nodes, root, key)

    def sums(self, root: TreeRoot, start: str | None = None, stop: str | None = None) -> tuple[int, int]:
        """The number of rows in a range and their size in bytes; reads only the nodes that the bounds cut."""
        return sum_rows(self._nodes, root, start, stop)

    def range_hash(self, root: TreeRoot, start: str | None = None, stop: str | None = None) -> bytes:
        """A hash of the rows in a range and of nothing else: the id of a tree of just these. 32 bytes; reads only the nodes that the bounds cut."""
        return self.summary(root, start, stop).id

    def summary(self, root: TreeRoot, start: str | None = None, stop: str | None = None) -> Summary:
        """What `sums` and `range_hash` tell, in one go."""
        return summarize(self._nodes, root, start, stop)

    def diff(self, old: TreeRoot, new: TreeRoot) -> TreeDiff:
        """The rows that differ between two trees."""
        found = diff_trees(self._nodes, old, new)
        assert found is not None
        return found

    def find_diff(self, old: TreeRoot, new: TreeRoot, *, most_rows: int) -> TreeDiff | None:
        """The same, when that takes a look at no more than so many rows; otherwise None, at the cost of the nodes above them."""
        return diff_trees(self._nodes, old, new, most_rows)

    @contextlib.contextmanager
    def _packs(self, packs: PackWriter | None) -> Iterator[PackWriter]:
        """The packs given, or some that are flushed behind the block."""
        if packs is not None:
            yield packs
            return
        own = PackWriter(self.store)
        try:
            yield own
        finally:
            own.stop()
        own.flush()


def _sorted_keys(keys: pa.Array) -> list[str]:
    unique = pc.unique(keys.cast(pa.string()))
    return list(unique.take(pc.sort_indices(unique)).to_pylist())
