"""Tables that are read as if they were in memory, and are on disk when they are large: each of their columns is mapped from files without a name."""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.storage.nameless_files import NamelessFile
from pachyderm_dagster.storage.system_errors import storage_errors

MOST_BYTES = 4 << 20
"""Of a table that is in memory."""
MOST_TEXT = 2**31 - 1
"""Bytes of all strings of an Arrow array together."""


class Scratch:
    """Where the tables of one piece of work are. For one thread at a time; the tables are for all.

    Args:
        folder: where files are, if there are any; None: nothing is large.
        most_bytes, most_text: instead of `MOST_BYTES` and `MOST_TEXT`.
    """

    def __init__(self, folder: Path | None, *, most_bytes: int = MOST_BYTES, most_text: int = MOST_TEXT) -> None:
        self._folder, self._most_bytes, self._most_text = folder, most_bytes, most_text
        self._maps: list[mmap.mmap] = []

    def keep(self, schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
        """A table of the rows of some with this schema, one after the other; each column in one piece while its strings fit into an array.

        Args:
            schema: of strings, whole numbers and values of fixed length, none of them null.

        Raises:
            StorageError: `storage-full`, when the folder's disk is.
        """
        source = iter(tables)
        rows, ended = self._gather(schema, source)
        if ended or self._folder is None:
            return pa.concat_tables([rows, *source]).combine_chunks()
        with storage_errors("write", str(self._folder)):
            return pa.concat_tables(self._write(self._folder, schema, rows, source))

    def let_go(self) -> None:
        """Has the pages of all tables leave this process: what is read again comes from the disk, or from the kernel's memory while there is room."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

    def _gather(self, schema: pa.Schema, source: Iterator[pa.Table]) -> tuple[pa.Table, bool]:
        """The first rows, and whether they are all."""
        gathered, size = [schema.empty_table()], 0
        for rows in source:
            gathered.append(rows)
            size += rows.nbytes
            if size >= self._most_bytes:
                return pa.concat_tables(gathered), False
        return pa.concat_tables(gathered), True

    def _write(self, folder: Path, schema: pa.Schema, first: pa.Table, source: Iterator[pa.Table]) -> Iterator[pa.Table]:
        columns = [_Column(field.type, folder) for field in schema]
        for rows in chain([first], source):
            for batch in rows.to_batches():
                if any(column.text and column.text + batch.column(place).nbytes > self._most_text for place, column in enumerate(columns)):
                    yield self._map(schema, columns)
                    columns = [_Column(field.type, folder) for field in schema]
                for column, values in zip(columns, batch.columns, strict=True):
                    column.add(values)
        yield self._map(schema, columns)

    def _map(self, schema: pa.Schema, columns: "Sequence[_Column]") -> pa.Table:
        arrays = []
        for column in columns:
            mapped = [file.map() if file.size else None for file in column.files]
            self._maps += [one for one in mapped if one is not None]
            arrays.append(pa.Array.from_buffers(column.type, column.count, [None, *(pa.py_buffer(one or b"") for one in mapped)]))
        return pa.table(arrays, schema=schema)


class _Column:
    """A column as it is written: a file for each of its buffers."""

    def __init__(self, type: pa.DataType, folder: Path) -> None:
        self.type, self.count, self.text = type, 0, 0
        self.files = [NamelessFile(folder) for _ in range(type.num_buffers - 1)]
        if pa.types.is_string(type):
            self.files[0].append(bytes(4))

    def add(self, values: pa.Array) -> None:
        if values.null_count:
            raise ValueError(f"a table on disk holds no nulls; found {values.null_count}")
        if not len(values):
            return
        _, *buffers = values.buffers()
        start, end = values.offset, values.offset + len(values)
        if pa.types.is_string(self.type):
            offsets = np.frombuffer(buffers[0], np.int32)[start : end + 1]
            first, last = offsets[[0, -1]].tolist()
            self._append((offsets[1:] + np.int32(self.text - first)).data, memoryview(buffers[1] or b"")[first:last])
            self.text += last - first
        else:
            width = self.type.bit_width // 8
            self._append(memoryview(buffers[0])[start * width : end * width])
        self.count += len(values)

    def _append(self, *parts: Buffer) -> None:
        for file, data in zip(self.files, parts, strict=True):
            file.append(data)
