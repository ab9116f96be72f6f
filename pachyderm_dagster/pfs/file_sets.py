"""File sets: files outside of any commit, under an id of their own, until they expire.

One is layers, as an open commit has them, upon the content of a commit or upon nothing. Its files are read as `__filesets__@ID:/path`.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.filesets import PUT_SCHEMA, Layer
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.trees import TreeRoot, Trees

DEFAULT_TTL = dt.timedelta(minutes=10)
SHORTEST_TTL = dt.timedelta(seconds=1)
LONGEST_TTL = dt.timedelta(minutes=30)
_LAYER_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class StoredFileSet:
    """A file set as the record has it.

    Attributes:
        tree: encoded root of what the layers lie upon; None for nothing.
        layers: where they lie, lowest first.
    """

    id: str
    created: dt.datetime
    expires: dt.datetime
    tree: bytes | None
    layers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PathRange:
    """The paths from `start` on and before `stop`, in the order of listings; None for no bound."""

    start: str | None
    stop: str | None


def create_file_set(txn: Transaction, *, tree: bytes | None, layers: Sequence[bytes], ttl: dt.timedelta) -> str:
    """Keeps layers, which lie upon a tree, and returns the id.

    Raises:
        InvalidError: `ttl-invalid`.
    """
    own_id = txn.clock.new_id()
    _add(txn, own_id, tree, layers, _checked(ttl))
    return own_id


def replace_file_set(txn: Transaction, own_id: str, layers: Sequence[bytes], ttl: dt.timedelta) -> None:
    """Keeps layers, which lie upon nothing, under an id that the caller chose; what was there under it, expired or not, goes. For any length of time."""
    txn.run(sa.delete(t.file_set).where(t.file_set.c.id == own_id))
    _add(txn, own_id, None, layers, ttl)


def get_file_set(txn: Transaction, own_id: str) -> StoredFileSet:
    """A file set that has not expired.

    Raises:
        NotFoundError: `file-set-not-found`.
    """
    row = txn.first(sa.select(t.file_set).where(t.file_set.c.id == own_id, t.file_set.c.expires > txn.clock.now()))
    if row is None:
        raise NotFoundError("file-set-not-found", f"file set '{own_id}' does not exist, or has expired; make it again, and renew it while it is needed")
    layers = txn.all(sa.select(t.file_set_layer.c.layer).where(t.file_set_layer.c.file_set_id == own_id).order_by(t.file_set_layer.c.id))
    tree = None if row.tree is None else bytes(row.tree)
    return StoredFileSet(row.id, row.created, row.expires, tree, tuple(bytes(found.layer) for found in layers))


def renew_file_set(txn: Transaction, own_id: str, ttl: dt.timedelta) -> None:
    """Lets a file set expire `ttl` from now, unless it would have lived longer.

    Raises:
        NotFoundError: `file-set-not-found`.
        InvalidError: `ttl-invalid`.
    """
    expires = max(get_file_set(txn, own_id).expires, txn.clock.now() + _checked(ttl))
    txn.run(sa.update(t.file_set).where(t.file_set.c.id == own_id).values(expires=expires))


def difference_layer(trees: Trees, old: TreeRoot, new: TreeRoot) -> Layer:
    """What makes `new` of `old`."""
    difference = trees.diff(old, new)
    keys = difference.old_rows.column("key").combine_chunks()
    gone = keys.filter(pc.invert(pc.is_in(keys, value_set=difference.new_rows.column("key").combine_chunks())))
    return Layer(_puts(difference.new_rows), tuple(gone.to_pylist()))


def layers_of_tree(trees: Trees, root: TreeRoot) -> list[Layer]:
    """All files of a tree as layers that put them, each of a bounded size."""
    layers: list[Layer] = []
    leaves: list[pa.Table] = []
    for leaf in trees.read(root):
        leaves.append(leaf)
        if sum(map(len, leaves)) >= _LAYER_ROWS:
            layers.append(Layer(_puts(pa.concat_tables(leaves))))
            leaves = []
    return [*layers, Layer(_puts(pa.concat_tables(leaves)))] if leaves else layers


def shard_tree(trees: Trees, root: TreeRoot, *, files: int | None, size_bytes: int | None) -> list[PathRange]:
    """Ranges that together hold every path once, each closed by the first file that brings it to `files` files or to `size_bytes`.

    Raises:
        InvalidError: `shard-invalid`, for a limit that is not above 0, and for none.
    """
    if (files is None and size_bytes is None) or min(limit for limit in (files, size_bytes, 1) if limit is not None) <= 0:
        raise InvalidError("shard-invalid", f"a shard takes a number of files or of bytes above 0; found {files} files and {size_bytes} bytes")
    rows = pa.concat_tables([FILE_ROWS.schema.empty_table().select(["key", "size"]), *(leaf.select(["key", "size"]) for leaf in trees.read(root))])
    keys, sums = rows.column("key"), np.cumsum(rows.column("size").to_numpy())
    starts: list[int] = []
    start = _end_of_shard(sums, 0, files, size_bytes)
    while start < len(keys):
        starts.append(start)
        start = _end_of_shard(sums, start, files, size_bytes)
    paths = [path_of(key) for key in keys.take(pa.array(starts, pa.int64())).to_pylist()]
    return [PathRange(first, end) for first, end in zip([None, *paths], [*paths, None], strict=True)]


def _end_of_shard(sums: "npt.NDArray[np.int64]", start: int, files: int | None, size_bytes: int | None) -> int:
    ends = [len(sums)] if files is None else [start + files]
    if size_bytes is not None:
        ends.append(int(np.searchsorted(sums, (sums[start - 1] if start else 0) + size_bytes)) + 1)
    return min(ends)


def _add(txn: Transaction, own_id: str, tree: bytes | None, layers: Sequence[bytes], ttl: dt.timedelta) -> None:
    now = txn.clock.now()
    txn.run(sa.insert(t.file_set).values(id=own_id, created=now, expires=now + ttl, tree=tree))
    for layer in layers:
        txn.insert(t.file_set_layer, file_set_id=own_id, layer=layer)


def _puts(rows: pa.Table) -> pa.Table:
    rows = rows.select(FILE_ROWS.schema.names)
    columns = [rows.column("key"), pa.repeat(b"", len(rows)), *(rows.column(name) for name in ("size", "hash", "refs")), pa.repeat(False, len(rows))]
    return pa.Table.from_arrays(columns, schema=PUT_SCHEMA)


def _checked(ttl: dt.timedelta) -> dt.timedelta:
    if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        raise InvalidError("ttl-invalid", f"a file set lives between 1 second and 30 minutes from the last time it was renewed; found {ttl}")
    return ttl
