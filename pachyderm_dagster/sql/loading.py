"""Loads files of rows into the tables of a database: all of them or none, in one transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.sql.databases import asking, begin_loading
from pachyderm_dagster.sql.filling import Fill, Row, filler, find_refused_row, named_table
from pachyderm_dagster.sql.row_files import Layout, Open, RowFile, invalid_file, read_rows
from pachyderm_dagster.sql.values import Convert, converter


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file and the table that its rows go to; `name` is for messages."""

    name: str
    table: str
    open: Open


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many rows were loaded into each table, and from how many files; a table into which a file without rows went has 0."""

    rows: dict[str, int]
    files: int


def load(engine: sa.Engine, files: Iterable[TableFile], layout: Layout, check: Callable[[], None] = lambda: None) -> Loaded:
    """Empties each table that a file goes to, and fills it. Whatever raises leaves every table as it was.

    Args:
        check: called between batches; what it raises ends the load.

    Raises:
        NotFoundError: `table-not-found`.
        InvalidError: `sql-file-invalid`, for a file or a value in it; `sql-refused`, for what the database says no to.
        PachydermError: whatever else `databases.asking` raises.
    """
    with asking(engine), engine.connect() as connection, connection.begin():
        begin_loading(connection)
        tables: dict[str, _Table] = {}
        count = 0
        for file in files:
            check()
            count += 1
            if file.table not in tables:
                tables[file.table] = _empty_table(connection, file)
            tables[file.table].load(connection, file, layout, check)
        return Loaded({name: table.rows for name, table in tables.items()}, count)


@dataclass(slots=True)
class _Table:
    """A table that was emptied."""

    name: str
    schema: str | None
    columns: dict[str, sa.types.TypeEngine[Any]]
    rows: int = 0

    def load(self, connection: sa.Connection, file: TableFile, layout: Layout, check: Callable[[], None]) -> None:
        with read_rows(file.name, file.open, layout, list(self.columns)) as found:
            self._load_rows(connection, file, found, layout, check)

    def _load_rows(self, connection: sa.Connection, file: TableFile, found: RowFile, layout: Layout, check: Callable[[], None]) -> None:
        converters = [converter(self.columns[column], connection.dialect.name, layout.type) for column in found.columns]
        fill = filler(connection, self.name, self.schema, found.columns)
        first = 1
        for rows in found.batches:
            check()
            if rows:
                converted = [self._convert(file, found.columns, converters, number, row) for number, row in enumerate(rows, first)]
                _fill(connection, fill, converted, file, first)
                first += len(rows)
        self.rows += first - 1

    def _convert(self, file: TableFile, columns: Sequence[str], converters: Sequence[Convert], number: int, row: Sequence[Any]) -> Row:
        found: list[Any] = []
        try:
            for convert, value in zip(converters, row, strict=True):
                found.append(convert(value))
        except (ValueError, TypeError, ArithmeticError) as error:
            column, value = columns[len(found)], row[len(found)]
            problem = f"row {number}: column {column!r} of '{self.name}' is {self.columns[column]}, and does not take {_shown(value)}"
            raise invalid_file(file.name, problem) from error
        return tuple(found)


def _empty_table(connection: sa.Connection, file: TableFile) -> _Table:
    inspector = sa.inspect(connection)
    schema, name = None, file.table
    if not inspector.has_table(name) and name.count(".") == 1:
        schema, name = name.split(".")
    if not inspector.has_table(name, schema):
        where = connection.engine.url.render_as_string()
        raise NotFoundError(
            "table-not-found", f"{file.name}: there is no table '{file.table}' in {where}; make it, or let the code write to /TABLE/NAME of one that is there"
        )
    columns = {found["name"]: found["type"] for found in inspector.get_columns(name, schema) if not found.get("computed")}
    table = named_table(name, schema)
    if connection.dialect.name == "postgresql":
        # Of two loads the later must see what the first one put there, or its DELETE would leave that. Readers do not wait.
        connection.exec_driver_sql(f"LOCK TABLE {connection.dialect.identifier_preparer.format_table(table)} IN SHARE ROW EXCLUSIVE MODE")
    connection.execute(sa.delete(table))
    return _Table(name, schema, columns)


def _fill(connection: sa.Connection, fill: Fill, rows: Sequence[Row], file: TableFile, first: int) -> None:
    try:
        with asking(connection.engine):
            fill(rows)
    except InvalidError as error:
        refused = 1 if len(rows) == 1 else find_refused_row(error.__cause__)
        where = f"one of the rows {first} to {first + len(rows) - 1}" if refused is None else f"row {first + refused - 1}"
        raise InvalidError(error.code, f"{file.name}, {where}: {error.message}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
