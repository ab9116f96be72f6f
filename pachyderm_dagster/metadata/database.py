"""Opens the record and runs transactions on it."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ConflictError, InvalidError, StateError, StorageError, UnreachableError
from pachyderm_dagster.metadata import tables

T = TypeVar("T")
SCHEMA_REVISION = "0002"
BUSY_TIMEOUT_SECONDS = 60
ATTEMPTS = 10


@dataclass(slots=True)
class Transaction:
    """One transaction on the record: a connection, the time, and the id that its commit set and jobs share."""

    connection: sa.Connection
    clock: Clock
    id: str
    touched_branches: set[int] = field(default_factory=set)
    """Branches whose head or provenance this transaction changed; propagation starts from them."""
    new_commits: list[int] = field(default_factory=list)

    def first(self, statement: sa.Executable) -> sa.Row[Any] | None:
        """The first row, or None."""
        return self.connection.execute(statement).first()

    def all(self, statement: sa.Executable) -> Sequence[sa.Row[Any]]:
        """Every row."""
        return self.connection.execute(statement).all()

    def run(self, statement: sa.Executable) -> int:
        """Executes a change; how many rows it touched."""
        return self.connection.execute(statement).rowcount

    def insert(self, table: sa.Table, **values: object) -> int:
        """Adds a row to a table whose key is `id` and returns it."""
        key = self.connection.execute(sa.insert(table).values(**values)).inserted_primary_key
        assert key is not None
        return int(key[0])


Finisher = Callable[[Transaction], None]


class Database:
    """The record.

    Args:
        engine: from `open_engine`.
        clock: time and ids of its transactions.
        finishers: run in order at the end of every writing transaction (propagation, then job creation), inside it.
    """

    def __init__(self, engine: sa.Engine, clock: Clock, finishers: Sequence[Finisher] = ()) -> None:
        self.engine = engine
        self.clock = clock
        self._finishers = tuple(finishers)

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view; whatever is changed in it is rolled back."""
        with _lost_race_as_conflict(), _translated(), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            try:
                yield Transaction(connection, self.clock, "")
            finally:
                connection.rollback()

    def write(self, change: Callable[[Transaction], T], *, id: str | None = None) -> T:
        """Runs `change` in a transaction and returns what it returned.

        `change` may run several times (a lost race is repeated), so it does no I/O of its own.

        Args:
            id: of the transaction and so of its commit set, for who must know it before; a new one when None.

        Raises:
            ConflictError: `database-busy`, when other writers won every attempt.
        """
        for attempt in range(ATTEMPTS):
            try:
                with _translated(), self.engine.begin() as connection:
                    if connection.dialect.name == "sqlite":
                        connection.exec_driver_sql("BEGIN IMMEDIATE")
                    return self._perform(Transaction(connection, self.clock, id or self.clock.new_id()), change)
            except _LostRace:
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise ConflictError("database-busy", f"other writers won {ATTEMPTS} attempts in a row; try again")

    def rehearse(self, txn: Transaction, change: Callable[[Transaction], T]) -> T:
        """Runs `change` inside `txn`, with what follows at the end of a transaction, and takes all of it back. Returns, or raises, what it would have."""
        attempt = txn.connection.begin_nested()
        try:
            return self._perform(Transaction(txn.connection, txn.clock, txn.id), change)
        finally:
            attempt.rollback()

    def close(self) -> None:
        """Releases every connection."""
        self.engine.dispose()

    def _perform(self, txn: Transaction, change: Callable[[Transaction], T]) -> T:
        result = change(txn)
        for finish in self._finishers:
            finish(txn)
        return result


class _LostRace(Exception):
    """Two transactions met; the whole of ours can run again."""


@contextlib.contextmanager
def _lost_race_as_conflict() -> Iterator[None]:
    """For a view, which the caller has to ask for again."""
    try:
        yield
    except _LostRace as error:
        raise ConflictError("database-busy", "the record changed while it was read; try again") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's outages into ours; a mistake in our own SQL stays what it is."""
    try:
        yield
    except exc.OperationalError as error:
        text = str(error.orig)
        if "serialize" in text or "deadlock" in text:
            raise _LostRace from error
        if "locked" in text or "busy" in text:
            raise ConflictError("database-busy", f"another process has held the record for {BUSY_TIMEOUT_SECONDS} s; try again when it is done") from error
        if "full" in text:
            raise StorageError("storage-full", "the disk that holds the record is full; nothing was changed: free some space and try again") from error
        if "unable to open" in text or "readonly" in text:
            raise StorageError(
                "home-unusable",
                f"the record cannot be opened for writing: {text}; set PACHYDERM_HOME to a folder that you can write, on a disk that is not read-only",
            ) from error
        if "disk I/O" in text:
            # What SQLite says when it cannot make its own files beside the database.
            raise StorageError(
                "record-unusable", f"the record cannot be used: {text}; the disk may be full: look at `df`, free some space and try again"
            ) from error
        if "malformed" in text or "not a database" in text:
            raise StorageError("record-unusable", f"the record cannot be used: {text}; restore metadata.db from a backup") from error
        raise UnreachableError("record-unreachable", f"the record does not answer: {text}; check PACHYDERM_METADATA_URL") from error
    except exc.DatabaseError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise StorageError("record-unusable", f"the record cannot be used: {error.orig}; restore metadata.db from a backup") from error
        raise


def open_engine(url: str) -> sa.Engine:
    """Connects to the record at an SQLAlchemy URL and makes its tables when there are none.

    Raises:
        InvalidError: `config-invalid`, when it is no URL.
        StateError: `home-version`, when another version of this package wrote it.
        UnreachableError: `record-unreachable`.
        StorageError: `record-unusable`, when the file is no database.
    """
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise InvalidError("config-invalid", f"{url!r} is no SQLAlchemy URL; PACHYDERM_METADATA_URL takes one, as sqlite:////folder/metadata.db") from error
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite_engine(parsed)
    else:
        engine = sa.create_engine(parsed, isolation_level="SERIALIZABLE", pool_pre_ping=True)
    with _translated():
        _ensure_schema(engine, url)
    return engine


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                "home-unusable", f"the folder for {url.database} cannot be made: {error.strerror}; set PACHYDERM_HOME to a folder that you can write"
            ) from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

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


def _ensure_schema(engine: sa.Engine, url: str) -> None:
    found = _schema_revision(engine)
    if found is None:
        found = _create_schema(engine)
    if found != SCHEMA_REVISION:
        shown = sa.make_url(url).render_as_string(hide_password=True)
        raise StateError(
            "home-version",
            f"the record at {shown} has schema {found!r}, this version reads {SCHEMA_REVISION!r}; "
            "use the version that wrote it, or point PACHYDERM_HOME to another folder",
        )


def _schema_revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        try:
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        except (exc.OperationalError, exc.ProgrammingError) as error:
            if "no such table" in str(error.orig) or "does not exist" in str(error.orig):
                return None
            raise


def _create_schema(engine: sa.Engine) -> str:
    """Makes the newest schema at once; a test holds that the migrations lead to the same one."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7274)")
        tables.metadata.create_all(connection)
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if found is None:
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": SCHEMA_REVISION})
        return found or SCHEMA_REVISION
