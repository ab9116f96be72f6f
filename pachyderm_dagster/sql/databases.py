"""Connections to databases of others: PostgreSQL, MySQL and MariaDB, SQLite; and what their drivers say went wrong, as errors of this package."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.settings import SQL_PASSWORD
from pachyderm_dagster.sql.vocabulary import FORMS, check_url

CONNECT_SECONDS = 10
LOCK_SECONDS = 60
"""How long others may keep a table from us."""
_SILENT_SECONDS = 300
# A server that is gone without a word is noticed after about a minute, in the middle of a statement after half of one.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_BUSY = {"40001", "40P01", "55P03"}  # serialization_failure, deadlock_detected, lock_not_available
_POSTGRESQL_DENIED = {"42501", "28000", "28P01"}
_POSTGRESQL_GONE = "08", "57P", "53"
# https://mariadb.com/kb/en/mariadb-error-code-reference/
_MYSQL_BUSY = {1205, 1213}  # lock wait timeout, deadlock
_MYSQL_DENIED = {1044, 1045, 1142, 1698}
_MYSQL_GONE = {1040, 1053, 1077, 1927, 2002, 2003, 2006, 2013}


def open_database(url: str, password: str | None) -> sa.Engine:
    """An engine for the database that a URL names; nothing is asked of a server yet. Close it with `dispose()`.

    Raises:
        InvalidError: `sql-url-invalid`; `extra-missing`, when the driver is not installed; `database-missing`, for an SQLite file that is not there.
    """
    kind = check_url(url)
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise InvalidError("sql-url-invalid", f"a database's URL does not parse; it takes {FORMS}") from error
    match kind:
        case "sqlite":
            return _open_sqlite(parsed)
        case "mysql":
            timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": _SILENT_SECONDS, "write_timeout": _SILENT_SECONDS}
            return _open_server(parsed, "mysql+pymysql", password, {"charset": "utf8mb4", **timeouts}, "mysql")
        case _:
            return _open_server(parsed, "postgresql+psycopg", password, {"connect_timeout": CONNECT_SECONDS, **_KEEPALIVE}, "postgresql")


def begin_loading(connection: sa.Connection) -> None:
    """Starts a transaction that waits for others, but not for ever."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "mysql":
            connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
        case _:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")


@contextlib.contextmanager
def asking(engine: sa.Engine) -> Iterator[None]:
    """Turns what the driver raises into ours; a connection is used inside of it.

    Raises:
        UnreachableError: `sql-unreachable`.
        StorageError: `sql-denied`.
        ConflictError: `sql-busy`, when the same may work later.
        InvalidError: `sql-refused`, for everything that the database says no to.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise _failure(engine, error) from error


def _open_server(url: sa.URL, driver: str, password: str | None, arguments: dict[str, Any], extra: str) -> sa.Engine:
    given = {name: value for name, value in arguments.items() if name not in url.query}
    try:
        # Parameters by position, so that rows are given to the driver as they are.
        return sa.create_engine(url.set(drivername=driver, password=password), poolclass=sa.NullPool, connect_args=given, paramstyle="format")
    except ImportError as error:
        raise InvalidError("extra-missing", f"the driver for {url.drivername}:// is not installed: pip install 'pachyderm-dagster[{extra}]'") from error


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or not Path(url.database).exists():
        raise InvalidError("database-missing", f"there is no SQLite database {url.database!r}; make it, with its tables, or correct the URL")
    # isolation_level None: the driver must not open transactions on its own.
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": LOCK_SECONDS, "isolation_level": None})


def _failure(engine: sa.Engine, error: exc.DBAPIError) -> PachydermError:
    shown = engine.url.render_as_string(hide_password=True)
    # PostgreSQL's context counts the rows of one COPY, of which a load makes many.
    text = " ".join(str(error.orig).partition("\nCONTEXT:  COPY ")[0].split())
    if _is_busy(error):
        return ConflictError("sql-busy", f"others are at work in {shown}: {text}; try again when they are done")
    if _is_denied(error):
        remedy = f"check the user, what it may do, and the password in the secret or in {SQL_PASSWORD}"
        return StorageError("sql-denied", f"{shown} refuses access: {text}; {remedy}")
    if _is_gone(error):
        return UnreachableError("sql-unreachable", f"{shown} does not answer: {text}; check the URL and the server")
    return InvalidError("sql-refused", f"{shown} refuses: {text}; correct the rows, or what the table takes")


def _is_busy(error: exc.DBAPIError) -> bool:
    match error.orig:
        case sqlite3.Error():
            return _sqlite_code(error.orig) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        case _:
            return _sqlstate(error) in _POSTGRESQL_BUSY or _mysql_code(error) in _MYSQL_BUSY


def _is_denied(error: exc.DBAPIError) -> bool:
    match error.orig:
        case sqlite3.Error():
            return _sqlite_code(error.orig) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
        case _:
            # While connecting libpq says what the server said, without its state.
            unnamed = not _sqlstate(error) and any(
                text in str(error.orig) for text in ("authentication failed", "no password supplied", "no pg_hba.conf entry")
            )
            return unnamed or _sqlstate(error) in _POSTGRESQL_DENIED or _mysql_code(error) in _MYSQL_DENIED


def _is_gone(error: exc.DBAPIError) -> bool:
    match error.orig:
        case sqlite3.Error():
            return _sqlite_code(error.orig) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
        case _:
            state, number = _sqlstate(error), _mysql_code(error)
            silent = isinstance(error, exc.OperationalError | exc.InterfaceError) and not state and number is None
            return error.connection_invalidated or state.startswith(_POSTGRESQL_GONE) or number in _MYSQL_GONE or silent


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of an extended code says where it happened


def _sqlstate(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _mysql_code(error: exc.DBAPIError) -> int | None:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None
