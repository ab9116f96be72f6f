"""Rows of CSV, JSON-lines and Parquet files, a few thousand at a time."""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.sql.vocabulary import FileType

BATCH_ROWS = 2_000
MAX_RECORD_BYTES = 8 * 1024 * 1024
"""The longest record of a text file; so much of a file is in memory at once."""
_COPY_BYTES = 1024 * 1024

Rows = Sequence[Sequence[Any]]
Open = Callable[[], io.BufferedIOBase]


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows.

    Attributes:
        columns: the columns of the table that its rows have, in their order.
        batches: its rows; a column that a row does not have is None.
    """

    columns: tuple[str, ...]
    batches: Iterator[Rows]


@dataclass(frozen=True, slots=True)
class Layout:
    """How files hold rows.

    Attributes:
        columns: of CSV those that the header of each file names, in any order, and without any the files have no header and all columns of the table in their
            order. Of JSON and Parquet the fields that are taken; without any all of them are.
        scratch: a folder for files that have to be read from their end.
    """

    type: FileType
    columns: tuple[str, ...]
    scratch: Path


@contextlib.contextmanager
def read_rows(name: str, open_file: Open, layout: Layout, table_columns: Sequence[str]) -> Iterator[RowFile]:
    """The rows of a file, which is open within the block; `name` is for messages.

    Raises:
        InvalidError: `sql-file-invalid`, here or while the rows are read.
    """
    _check_columns(name, layout.columns, table_columns)
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(open_file())
        match layout.type:
            case FileType.CSV:
                yield _read_csv(name, file, layout.columns, table_columns)
            case FileType.JSON:
                columns = layout.columns or tuple(table_columns)
                yield RowFile(columns, _json_batches(name, file, columns, only=bool(layout.columns)))
            case FileType.PARQUET:
                # Its directory is at its end, so that it has to be there as a whole before a row is.
                spool = opened.enter_context(tempfile.TemporaryFile(dir=layout.scratch))
                shutil.copyfileobj(file, spool, _COPY_BYTES)
                yield _read_parquet(name, spool, layout.columns, table_columns)


def invalid_file(name: str, problem: str) -> InvalidError:
    """The error for a file whose rows cannot be loaded."""
    return InvalidError("sql-file-invalid", f"{name}: {problem}")


def _check_columns(name: str, columns: Sequence[str], table_columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in table_columns]
    if unknown:
        raise invalid_file(name, f"the table has no column {unknown[0]!r}; its columns are {', '.join(table_columns)}")


def _read_csv(name: str, file: io.BufferedIOBase, columns: Sequence[str], table_columns: Sequence[str]) -> RowFile:
    number = len(columns or table_columns)
    batches = _csv_batches(name, file, number)
    first = next(batches, [])
    if not columns:
        if first and tuple(first[0]) == tuple(table_columns):
            raise invalid_file(name, f"its first line names the columns of the table; say so with `columns`: {json.dumps(list(table_columns))}")
        return RowFile(tuple(table_columns), chain([first], batches))
    if not first:
        return RowFile(tuple(columns), iter(()))
    names, *rest = first
    if sorted(map(str, names)) != sorted(columns):
        raise invalid_file(name, f"its first line is {', '.join(map(str, names))}; with `columns` it is a header, with the names {', '.join(columns)}")
    return RowFile(tuple(names), chain([rest], batches))


def _csv_batches(name: str, file: io.BufferedIOBase, number: int) -> Iterator[Rows]:
    try:
        for batch in _open_csv(file, [str(position) for position in range(number)]):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield _rows(batch.slice(start, BATCH_ROWS))
    except pa.ArrowInvalid as error:
        text = " ".join(str(error).split()).removeprefix("CSV parse error: ")
        if text == "Empty CSV file":
            return
        if "straddling" in text:
            text = f"a record is longer than {MAX_RECORD_BYTES // 1024**2} MiB, or a quote is never closed"
        raise invalid_file(name, f"{text}; without `columns` each line has all columns of the table, with them it has those") from error


def _open_csv(file: io.BufferedIOBase, names: Sequence[str]) -> csv.CSVStreamingReader:
    return csv.open_csv(
        file,
        read_options=csv.ReadOptions(use_threads=False, block_size=MAX_RECORD_BYTES, column_names=list(names)),
        # An empty line is a row only where a row can be empty.
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        # Every field is a text: what it means is the table's affair.
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )


def _rows(batch: pa.RecordBatch) -> Rows:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _json_batches(name: str, file: io.BufferedIOBase, columns: Sequence[str], *, only: bool) -> Iterator[Rows]:
    rows: list[tuple[Any, ...]] = []
    number = size = 0
    while line := file.readline(MAX_RECORD_BYTES + 1):
        number, size = number + 1, size + len(line)
        if len(line) > MAX_RECORD_BYTES:
            raise invalid_file(name, f"line {number} is longer than {MAX_RECORD_BYTES // 1024**2} MiB")
        if line.isspace():
            continue
        found = _json_object(name, number, line)
        unknown = () if only else found.keys() - set(columns)
        if unknown:
            known = ", ".join(columns)
            raise invalid_file(name, f"line {number}: the table has no column {min(unknown)!r}, only {known}; `columns` says which fields to take")
        rows.append(tuple(map(found.get, columns)))
        if len(rows) >= BATCH_ROWS or size >= MAX_RECORD_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _json_object(name: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_float=Decimal)
    except ValueError as error:
        raise invalid_file(name, f"line {number} is no JSON: {error}; each line holds one object") from error
    if not isinstance(found, dict):
        raise invalid_file(name, f"line {number} is no object; each line holds one, with the columns as its keys")
    return found


def _read_parquet(name: str, spool: BinaryIO, columns: Sequence[str], table_columns: Sequence[str]) -> RowFile:
    try:
        source = pq.ParquetFile(spool)
    except pa.ArrowInvalid as error:
        raise invalid_file(name, f"it is no Parquet file: {' '.join(str(error).split())}") from error
    held = source.schema_arrow.names
    taken = tuple(columns or held)
    _check_columns(name, taken, table_columns)
    absent = [column for column in taken if column not in held]
    if absent:
        raise invalid_file(name, f"it has no column {absent[0]!r}; its columns are {', '.join(held)}")
    return RowFile(taken, _parquet_batches(name, source, taken))


def _parquet_batches(name: str, source: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Rows]:
    try:
        for batch in source.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
            yield _rows(batch.select(list(columns)))
    except (pa.ArrowInvalid, OSError) as error:
        raise invalid_file(name, f"it cannot be read: {' '.join(str(error).split())}") from error
