"""Hashes of directories in the output of pipelines by their files alone, where those of the tree also say which datum wrote each file."""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import digest
from pachyderm_dagster.pfs.entries import DIRECTORY
from pachyderm_dagster.pfs.paths import directory_range
from pachyderm_dagster.storage.nodes import leaf_ids
from pachyderm_dagster.storage.rows import HASH_TYPE, KEY
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_Range: TypeAlias = tuple[str | None, str | None]


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


def _hashes(trees: Trees, root: TreeRoot, ranges: Sequence[_Range]) -> Iterator[bytes]:
    """One for each range of keys."""
    at = 0
    while at < len(ranges):
        start = ranges[at][0] or ""
        leaf = next(_leaves(trees, root, start, None), None)
        some = [] if leaf is None else _parts_of(leaf, start, itertools.islice(ranges, at, None))
        if leaf is not None and some:
            yield from leaf_ids(trees.kind, leaf, some)
            at += len(some)
        else:
            ids = [own_id for part in _leaves(trees, root, *ranges[at]) for own_id in leaf_ids(trees.kind, part, [(0, len(part))])]
            yield ids[0] if len(ids) == 1 else digest("directory", ids)
            at += 1


def _parts_of(leaf: pa.RecordBatch, start: str, ranges: Iterable[_Range]) -> list[tuple[int, int]]:
    """Which rows of a leaf, read from `start` on, the first ranges are that lie in it and end before it does."""
    keys = leaf.column(KEY).to_pylist()
    found = []
    for first, stop in ranges:
        if first is None or stop is None or first < start or stop > keys[-1]:
            break
        found.append((bisect_left(keys, first), bisect_left(keys, stop)))
    return found


def _leaves(trees: Trees, root: TreeRoot, start: str | None, stop: str | None) -> Iterator[pa.RecordBatch]:
    """The rows of a range, a leaf at a time, as if no datum had written them."""
    for rows in trees.read(root, start, stop):
        logical = rows.select(trees.kind.logical)
        by_nobody = logical.set_column(logical.column_names.index("datum"), "datum", pa.repeat(pa.scalar(b"", pa.binary()), len(rows)))
        (batch,) = by_nobody.combine_chunks().to_batches()
        yield batch
