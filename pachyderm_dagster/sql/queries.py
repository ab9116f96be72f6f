"""Reads the answer to a query into a file, row by row: CSV that is the same for the same rows, or Parquet with the types of the database."""

import datetime as dt
import decimal
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.sql.databases import asking
from pachyderm_dagster.sql.row_files import BATCH_ROWS, Rows

_ROW_GROUP_ROWS = 50_000
_QUOTED = re.compile(r'[",\r\n]')
# https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
_POSTGRESQL_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
_POSTGRESQL_NUMERIC = 1700
_MOST_DECIMAL_DIGITS = 76

Write = Callable[[Path, Sequence[Any], Iterator[Rows]], int]


def save_query(engine: sa.Engine, query: str, path: Path) -> int:
    """Writes the answer to a query into `path`, whose name ends with `.csv` or `.parquet`, and returns the number of its rows.

    Nothing can be changed by the query where the database knows transactions that only read. Times with a zone are in UTC.

    Raises:
        InvalidError: `query-invalid`, when the name, the query or a value in the answer does not do.
        PachydermError: as `databases.asking`.
    """
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise InvalidError("query-invalid", f"{path.name!r} does not say what to write; a name ends with {' or '.join(_WRITERS)}")
    with asking(engine), engine.connect() as connection, ExitStack() as opened:
        _begin_reading(connection)
        result = opened.enter_context(closing(connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS).exec_driver_sql(query)))
        if not result.returns_rows:
            raise InvalidError("query-invalid", "the statement gives no rows; write a query, as `SELECT * FROM orders ORDER BY id`")
        assert result.cursor is not None
        columns = list(result.cursor.description or ())
        _check_names([column[0] for column in columns])
        return write(path, columns, (list(rows) for rows in result.partitions(BATCH_ROWS)))


def _begin_reading(connection: sa.Connection) -> None:
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
        case "mysql":
            connection.exec_driver_sql("SET SESSION time_zone = '+00:00'")
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        case _:
            connection.exec_driver_sql("PRAGMA query_only = ON")


def _check_names(names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidError("query-invalid", f"two columns of the answer are called {twice[0]!r}; give one another name with AS")


def _write_csv(path: Path, columns: Sequence[Any], batches: Iterator[Rows]) -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        _write_line(file, [column[0] for column in columns])
        number = 0
        for rows in batches:
            number += len(rows)
            for row in rows:
                _write_line(file, row)
        return number


def _write_line(file: TextIO, row: Sequence[Any]) -> None:
    file.write(",".join(map(_field, row)) + "\n")


def _field(value: Any) -> str:
    """A null is empty, an empty text has quotes."""
    if value is None:
        return ""
    text = plain_text(value)
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text


def plain_text(value: Any) -> str:
    """A value as text: one text for equal values of a type."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case dt.datetime():
            return (value if value.tzinfo is None else value.astimezone(dt.UTC)).isoformat()
        case dt.date() | dt.time():
            return value.isoformat()
        case decimal.Decimal():
            return format(value, "f")
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(value).hex()
        case dict() | list():
            return json.dumps(value, sort_keys=True, ensure_ascii=False, default=plain_text)
        case _:
            return str(value)


def _write_parquet(path: Path, columns: Sequence[Any], batches: Iterator[Rows]) -> int:
    first = next(batches, [])
    schema = pa.schema([(column[0], _type_of(column, [row[index] for row in first])) for index, column in enumerate(columns)])
    number, waiting = 0, pa.Table.from_batches([], schema)
    with pq.ParquetWriter(path, schema) as file:
        for rows in chain([first], batches):
            number += len(rows)
            waiting = pa.concat_tables([waiting, _table(schema, rows, number)])
            if len(waiting) >= _ROW_GROUP_ROWS:
                file.write_table(waiting)
                waiting = waiting.slice(0, 0)
        file.write_table(waiting)
    return number


def _type_of(column: Any, values: Sequence[Any]) -> pa.DataType:
    """What the server says of the column; where it says nothing (SQLite, MySQL), what its first rows hold."""
    if hasattr(column, "type_code") and hasattr(column, "precision"):
        if column.type_code == _POSTGRESQL_NUMERIC and column.precision is not None and column.precision <= _MOST_DECIMAL_DIGITS:
            return pa.decimal256(column.precision, column.scale or 0) if column.precision > 38 else pa.decimal128(column.precision, column.scale or 0)
        return _POSTGRESQL_TYPES.get(column.type_code, pa.string())
    try:
        found = pa.infer_type([value for value in values if value is not None])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
    return pa.string() if pa.types.is_null(found) or pa.types.is_nested(found) or pa.types.is_decimal(found) else found


def _table(schema: pa.Schema, rows: Rows, number: int) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = []
    for field, values in zip(schema, columns, strict=True):
        taken = [None if value is None else plain_text(value) for value in values] if pa.types.is_string(field.type) else values
        try:
            arrays.append(pa.array(taken, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            problem = f"column {field.name!r} is {field.type} in the first rows, and one of those up to {number} is not: {' '.join(str(error).split())}"
            raise InvalidError("query-invalid", f"{problem}; CAST it to one type, or write CSV") from error
    return pa.table(arrays, schema=schema)


_WRITERS: dict[str, Write] = {".csv": _write_csv, ".parquet": _write_parquet}
