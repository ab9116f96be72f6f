"""Connections to the record: SQLite in a file or PostgreSQL through psycopg, and how a transaction begins on each."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from pachyderm_dagster.errors import InvalidError, StorageError
from pachyderm_dagster.metadata.failures import BUSY_TIMEOUT_SECONDS

CONNECT_SECONDS = 10
VERSION_TABLE = "alembic_version"
# A connection whose server is gone without a word is noticed after about a minute, in the middle of a statement after half of one.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_WRITING = (
    f"SET LOCAL statement_timeout = '{BUSY_TIMEOUT_SECONDS}s';"
    # A writer that stands still must not keep the others waiting for ever.
    f"SET LOCAL idle_in_transaction_session_timeout = '{BUSY_TIMEOUT_SECONDS}s';"
    f"LOCK TABLE {VERSION_TABLE} IN EXCLUSIVE MODE"
)


def connect(url: str) -> sa.Engine:
    """An engine for the record at an SQLAlchemy URL; nothing is asked of a server yet.

    Raises:
        InvalidError: `config-invalid`, when the URL cannot be used; `extra-missing`, when PostgreSQL's driver is not installed.
        StorageError: `home-unusable`, when the folder of an SQLite file cannot be made.
    """
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        # The text is not shown: it may hold a password.
        raise InvalidError("config-invalid", "PACHYDERM_METADATA_URL is no URL; it takes sqlite:////folder/metadata.db or postgresql://user@host/db") from error
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _connect_sqlite(parsed)
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return _connect_postgresql(parsed.set(drivername="postgresql+psycopg"))
    raise InvalidError("config-invalid", f"PACHYDERM_METADATA_URL names {parsed.drivername!r}; it takes sqlite:///... or postgresql://...")


def begin_reading(connection: sa.Connection) -> None:
    """Starts a transaction that sees the record as it is now, whatever others change. On PostgreSQL the engine's isolation level says so."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


def begin_writing(connection: sa.Connection) -> None:
    """Starts a transaction that no other writer's overlaps.

    Writers queue on both databases: SQLite has one at a time anyway; on PostgreSQL they would otherwise meet in the same few rows and repeat one
    another's work, and a row with a greater id could be seen before one with a smaller, which `subscribe` would then never see. LOCK TABLE comes
    first because it takes no snapshot: what the transaction sees is what the writer before it left. Readers do not wait.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else _WRITING)


def _connect_postgresql(url: sa.URL) -> sa.Engine:
    defaults = {"connect_timeout": CONNECT_SECONDS, "application_name": "pachyderm-dagster", **_KEEPALIVE}
    arguments = {name: value for name, value in defaults.items() if name not in url.query}
    try:
        engine = sa.create_engine(
            url, isolation_level="REPEATABLE READ", pool_pre_ping=True, pool_timeout=BUSY_TIMEOUT_SECONDS, pool_use_lifo=True, connect_args=arguments
        )
    except ImportError as error:
        raise InvalidError(
            "extra-missing", "a record on PostgreSQL needs its driver, which is not installed: pip install 'pachyderm-dagster[postgresql]'"
        ) from error
    # Before SQLAlchemy's own first question, whose answer would be no text.
    event.listen(engine, "connect", _check_encoding, insert=True)
    return engine


def _check_encoding(connection: Any, _record: object) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InvalidError(
            "config-invalid",
            f"the database that PACHYDERM_METADATA_URL names has the encoding {encoding}, and names of files need UTF8; "
            "make another one: createdb --encoding UTF8 --template template0 NAME",
        )


def _connect_sqlite(url: sa.URL) -> sa.Engine:
    if url.database in (None, "", ":memory:"):
        raise InvalidError(
            "config-invalid", "PACHYDERM_METADATA_URL names a record in memory, which ends with this process; write sqlite:////folder/metadata.db"
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "home-unusable", f"the folder for {url.database} cannot be made: {error.strerror}; set PACHYDERM_HOME to a folder that you can write"
        ) from error
    engine = sa.create_engine(url, pool_timeout=BUSY_TIMEOUT_SECONDS, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # The driver must not open transactions on its own: ours start with BEGIN IMMEDIATE, so that two writers queue instead of failing half-way.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine
