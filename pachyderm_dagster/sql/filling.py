"""How rows get into a table: by COPY where PostgreSQL takes it, several times as fast as INSERT; elsewhere by INSERT of many at once."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

Row = tuple[Any, ...]
Fill = Callable[[Sequence[Row]], None]
"""Puts rows into a table, whose values are what `values.converter` made. Raises what SQLAlchemy does."""

_COPIED_LINE = re.compile(r"^COPY .*?, line ([0-9]+)", re.MULTILINE)


def named_table(name: str, schema: str | None, columns: Sequence[str] = ()) -> sa.TableClause:
    """A table for statements. Names are quoted whatever they are: those of tables are names of files."""
    return sa.table(_quoted(name), *(sa.column(_quoted(column)) for column in columns), schema=None if schema is None else _quoted(schema))


def filler(connection: sa.Connection, name: str, schema: str | None, columns: Sequence[str]) -> Fill:
    """What fills these columns of a table, in the transaction of the connection."""
    table = named_table(name, schema, columns)
    copies = connection.dialect.name == "postgresql" and _takes_copy(connection, table)
    return _copy(connection, table) if copies else _insert(connection, table)


def find_refused_row(error: BaseException | None) -> int | None:
    """Which of the rows that were given to a COPY the server refused, from 1; None where it does not say."""
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    # A server with messages in another language has another word for it.
    found = _COPIED_LINE.search(getattr(diagnosis, "context", None) or "")
    return None if found is None else int(found[1])


def _insert(connection: sa.Connection, table: sa.TableClause) -> Fill:
    # Columns without types: the driver says what a value is, and the database makes it what the column is.
    insert = sa.insert(table).values({column: sa.bindparam(f"v{position}") for position, column in enumerate(table.columns)})
    statement = str(insert.compile(dialect=connection.dialect))

    def fill(rows: Sequence[Row]) -> None:
        # PyMySQL makes one statement of many rows of it.
        connection.exec_driver_sql(statement, list(rows))

    return fill


def _takes_copy(connection: sa.Connection, table: sa.TableClause) -> bool:
    """Views do not, nor tables of which policies say which rows an account may add."""
    query = sa.text("SELECT relkind IN ('r', 'p') AND NOT row_security_active(oid) FROM pg_class WHERE oid = CAST(:name AS regclass)")
    return bool(connection.scalar(query, {"name": _full_name(table)}))


def _copy(connection: sa.Connection, table: sa.TableClause) -> Fill:
    statement = f"COPY {_full_name(table)} ({', '.join(_quotes(column.name) for column in table.columns)}) FROM STDIN"
    failure = connection.dialect.loaded_dbapi.Error
    driver: Any = connection.connection.driver_connection

    def fill(rows: Sequence[Row]) -> None:
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except failure as error:
            if driver.closed:
                # Or SQLAlchemy would ask it to roll back.
                connection.invalidate(error)
            raise exc.DBAPIError.instance(statement, None, error, failure, dialect=connection.dialect) from error

    return fill


def _full_name(table: sa.TableClause) -> str:
    """A table's name as the server reads it; what SQLAlchemy writes has its percent signs twice, for statements with parameters."""
    return ".".join(_quotes(name) for name in (table.schema, table.name) if name)


def _quotes(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _quoted(name: str) -> sa.quoted_name:
    return sa.quoted_name(name, quote=True)
