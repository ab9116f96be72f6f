"""Rows of a tree that come in any order and are given in that of their keys: most are in a file without a name, as sorted runs that are merged."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.nameless_files import NamelessFile
from pachyderm_dagster.storage.rows import KEY, TreeKind
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.storage.tree_editing import order_rows

MOST_BYTES = 8 << 20
"""Of rows in memory before they become a run, and of those that are given at a time."""
_BLOCKS = 32
"""Of a run; one of each is in memory while runs are merged."""
_MOST_TABLES = 64

_Place = tuple[int, int]
"""Where a block is in the file, and its length."""


class SortedRows:
    """Rows that are collected; keys may occur twice. For one thread at a time.

    Args:
        kind: of the tree.
        folder: where the file is, if there is one; made where it is missing. Nobody else sees the file, and it goes with this object or its process.
        most_bytes: instead of `MOST_BYTES`.
    """

    def __init__(self, kind: TreeKind, folder: Path, *, most_bytes: int | None = None) -> None:
        self._kind, self._folder, self._most_bytes = kind, folder, most_bytes or MOST_BYTES
        self.clear()

    def clear(self) -> None:
        """Forgets all rows."""
        self._count = self._bytes = 0
        self._new: list[pa.Table] = []
        self._file: NamelessFile | None = None
        self._runs: list[list[_Place]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, rows: pa.Table) -> None:
        """Takes some rows.

        Raises:
            StorageError: `storage-full`, when the folder's disk is; the rows are kept.
        """
        if not len(rows):
            return
        self._new.append(rows)
        self._count += len(rows)
        self._bytes += rows.nbytes
        if self._bytes >= self._most_bytes:
            self._write_run()
        elif len(self._new) >= _MOST_TABLES:
            # Each of them has buffers of its own.
            self._new = [pa.concat_tables(self._new).combine_chunks()]

    def read(self) -> Iterator[pa.RecordBatch]:
        """All rows in the order of their keys, about `most_bytes` at a time; no batch is empty. As often as needed, but nothing may be added meanwhile."""
        sources = [self._read_run(run) for run in self._runs]
        if self._new:
            sources.append(iter([self._ordered()]))
        return _in_pieces(merge_sorted(sources), self._most_bytes)

    def _ordered(self) -> pa.RecordBatch:
        return order_rows(self._kind, pa.concat_tables(self._new))

    def _write_run(self) -> None:
        rows = self._ordered()
        step = -(-rows.num_rows // _BLOCKS)
        with storage_errors("write", str(self._folder)):
            if self._file is None:
                self._file = NamelessFile(self._folder)
            self._runs.append([_write_block(self._file, rows.slice(start, step)) for start in range(0, rows.num_rows, step)])
        self._new, self._bytes = [], 0

    def _read_run(self, places: Sequence[_Place]) -> Iterator[pa.RecordBatch]:
        file = self._file
        assert file is not None
        return (pa.ipc.read_record_batch(pa.py_buffer(file.read(*place)), self._kind.schema) for place in places)


def merge_sorted(sources: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The rows of sources, each of which gives some at a time in the order of their keys, in that order."""
    heads = [_Head(rows, source) for source in sources if (rows := next(source, None)) is not None]
    while len(heads) > 1:
        # Up to here nothing that a source has still to give belongs.
        bound = min(head.last_key for head in heads)
        rows = pa.concat_batches([head.take(bound) for head in heads])
        yield rows.take(pc.sort_indices(rows.column(KEY)))
        heads = [head for head in heads if head.fill()]
    for head in heads:
        yield head.rows
        yield from head.source


@dataclass(slots=True)
class _Head:
    """What is in memory of a source, and what it has still to give."""

    rows: pa.RecordBatch
    source: Iterator[pa.RecordBatch]

    @property
    def last_key(self) -> str:
        return str(self.rows.column(KEY)[-1].as_py())

    def take(self, bound: str) -> pa.RecordBatch:
        """The rows up to a key, which leave."""
        keys = self.rows.column(KEY)
        end = bisect_right(range(len(keys)), bound, key=lambda place: keys[place].as_py())
        taken, self.rows = self.rows.slice(0, end), self.rows.slice(end)
        return taken

    def fill(self) -> bool:
        """Whether there are rows left."""
        if not self.rows.num_rows:
            following = next(self.source, None)
            if following is None:
                return False
            self.rows = following
        return True


def _in_pieces(batches: Iterator[pa.RecordBatch], most_bytes: int) -> Iterator[pa.RecordBatch]:
    gathered: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        gathered.append(batch)
        size += batch.nbytes
        if size >= most_bytes:
            yield pa.concat_batches(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.concat_batches(gathered)


def _write_block(file: NamelessFile, rows: pa.RecordBatch) -> _Place:
    start = file.size
    file.append(memoryview(rows.serialize()))
    return start, file.size - start
