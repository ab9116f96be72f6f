"""Hashes of directories in the output of pipelines by their files alone, where those of the tree also say which datum wrote each file."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import digest
from pachyderm_dagster.pfs.entries import DIRECTORY
from pachyderm_dagster.pfs.paths import directory_range
from pachyderm_dagster.storage.nodes import Node, node_id
from pachyderm_dagster.storage.rows import HASH_TYPE, KEY
from pachyderm_dagster.storage.tree_reading import first_not_below
from pachyderm_dagster.storage.trees import TreeRoot, Trees


def hash_by_files(trees: Trees, root: TreeRoot, entries: pa.Table) -> pa.Table:
    """ENTRIES with hashes of directories that are equal for directories of one path with equal files below, whichever datums wrote them.

    Reads all rows below them; of entries in key order each leaf about once.
    """
    is_directory = pc.equal(entries.column("type"), DIRECTORY).combine_chunks()
    paths = entries.column("path").filter(is_directory).to_pylist()
    if not paths:
        return entries
    hashes = pa.array(_hashes(trees, root, [directory_range(path) for path in paths]), HASH_TYPE)
    found = pc.replace_with_mask(entries.column("hash").combine_chunks(), is_directory, hashes)
    return entries.set_column(entries.column_names.index("hash"), "hash", found)


def _hashes(trees: Trees, root: TreeRoot, ranges: list[tuple[str | None, str | None]]) -> Iterator[bytes]:
    """One for each range of keys."""
    leaf, begin = None, ""
    for start, stop in ranges:
        if leaf is None or not begin <= (start or "") <= _last_key(leaf):
            leaf, begin = next(_leaves(trees, root, start, None), None), start or ""
        if leaf is not None and stop is not None and stop <= _last_key(leaf):
            first, end = (first_not_below(leaf.column(KEY), key) for key in (start or "", stop))
            yield node_id(trees.kind, Node(0, leaf.slice(first, end - first)))
        else:
            ids = [node_id(trees.kind, Node(0, part)) for part in _leaves(trees, root, start, stop)]
            yield ids[0] if len(ids) == 1 else digest("directory", ids)


def _last_key(leaf: pa.RecordBatch) -> str:
    key: str = leaf.column(KEY)[-1].as_py()
    return key


def _leaves(trees: Trees, root: TreeRoot, start: str | None, stop: str | None) -> Iterator[pa.RecordBatch]:
    """The rows of a range, a leaf at a time, as if no datum had written them."""
    for rows in trees.read(root, start, stop):
        logical = rows.select(trees.kind.logical)
        by_nobody = logical.set_column(logical.column_names.index("datum"), "datum", pa.repeat(pa.scalar(b"", pa.binary()), len(rows)))
        (batch,) = by_nobody.combine_chunks().to_batches()
        yield batch
