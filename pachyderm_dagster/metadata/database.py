"""Opens the record and runs transactions on it."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ConflictError, PachydermError
from pachyderm_dagster.metadata import tables
from pachyderm_dagster.metadata.engines import begin_reading, begin_writing, connect
from pachyderm_dagster.metadata.failures import LostRace, translated
from pachyderm_dagster.metadata.schema import ensure_schema

T = TypeVar("T")
ATTEMPTS = 10


@dataclass(slots=True)
class Transaction:
    """One transaction on the record: a connection, the time, and the id that its commit set and jobs share."""

    connection: sa.Connection
    clock: Clock
    id: str
    touched_branches: set[int] = field(default_factory=set)
    """Branches that got a commit or other provenance: propagation starts from them, and gives them a commit of this set if they have none."""
    moved_branches: set[int] = field(default_factory=set)
    """Branches whose head went to a commit that was there: only what is downstream of them gets new ones."""
    taken_outputs: set[int] = field(default_factory=set)
    """Repos of which the output branch was taken away from the pipeline that wrote it: that one is stopped."""
    pinned_heads: dict[int, int] = field(default_factory=dict)
    """Branches that commits of this set are made from as of another commit than the head."""
    new_commits: list[int] = field(default_factory=list)
    structure_changed: bool = False
    """Whether a table of `tables.STRUCTURE` changed in a way that the store is to hold."""
    records_due: bool = False
    """Whether finished commits changed in a way that their records in the store do not say yet."""
    has_changed: bool = False
    """Whether anything was written."""

    def first(self, statement: sa.Executable, **values: object) -> sa.Row[Any] | None:
        """The first row, or None. `values` are for the parameters that the statement names."""
        return self.connection.execute(statement, values).first()

    def all(self, statement: sa.Executable, **values: object) -> Sequence[sa.Row[Any]]:
        """Every row. `values` as in `first`."""
        return self.connection.execute(statement, values).all()

    def run(self, statement: sa.Insert | sa.Update | sa.Delete, *, kept: bool = False, **values: object) -> int:
        """Executes a change; how many rows it touched.

        Args:
            kept: the store knows of it already, or need not: nothing has to be saved when the transaction is over.
        """
        if not isinstance(statement, sa.Insert | sa.Update | sa.Delete):
            raise TypeError("a change is an insert, an update or a delete of a table: what changes is kept in the store too, and of a text nobody knows")
        self.has_changed = True
        if not kept:
            self._note(statement.table)
            if isinstance(statement, sa.Update) and statement.table is tables.commit:
                statement = statement.values(recorded=False)
        return self.connection.execute(statement, values).rowcount

    def insert(self, table: sa.Table, *, kept: bool = False, **values: object) -> int:
        """Adds a row to a table whose key is `id` and returns it. `kept` as in `run`."""
        self.has_changed = True
        if not kept and (table is not tables.commit or values.get("finished") is not None):
            self._note(table)
        key = self.connection.execute(sa.insert(table), values).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _note(self, table: sa.FromClause) -> None:
        self.structure_changed = self.structure_changed or table in tables.STRUCTURE
        self.records_due = self.records_due or table is tables.commit


Finisher = Callable[[Transaction], None]
Follower = Callable[["Database"], None]


class Database:
    """The record.

    Args:
        engine: from `open_engine`.
        clock: time and ids of its transactions.
        finishers: run in order at the end of every writing transaction (propagation, then job creation), inside it.
        precede: called before every writing transaction, outside of it; what it raises refuses the change.
        announce: called when a transaction is over that wrote anything.
        follow: called when a writing transaction is over that changed the structure, or commits whose records the store lacks.
    """

    def __init__(
        self,
        engine: sa.Engine,
        clock: Clock,
        finishers: Sequence[Finisher] = (),
        *,
        precede: Follower | None = None,
        announce: Callable[[], None] | None = None,
        follow: Follower | None = None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self._finishers = tuple(finishers)
        self._precede = precede
        self._announce = announce
        self._follow = follow

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view; whatever is changed in it is rolled back."""
        with _lost_race_as_conflict(), translated(), self.engine.connect() as connection:
            begin_reading(connection)
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

        def only(_previous: T | None, txn: Transaction) -> T:
            return change(txn)

        return self.write_in_turn([(id or self.clock.new_id(), only)])[0]

    def write_in_turn(self, changes: Sequence[tuple[str, Callable[[T | None, Transaction], T]]]) -> list[T]:
        """Runs changes as `write` does, all in one transaction of the database, so that either all happen or none.

        Each has an id, and so a commit set, and an end of its own; it is given what the one before it returned, the first None.
        """
        if self._precede is not None:
            self._precede(self)
        for attempt in range(ATTEMPTS):
            try:
                with translated(), self.engine.begin() as connection:
                    begin_writing(connection)
                    results: list[T] = []
                    due = structure_changed = has_changed = False
                    for set_id, change in changes:
                        txn = Transaction(connection, self.clock, set_id)
                        results.append(self._perform(txn, partial(change, results[-1] if results else None)))
                        structure_changed |= txn.structure_changed
                        has_changed |= txn.has_changed
                        due |= txn.structure_changed or txn.records_due
                    if structure_changed:
                        connection.execute(sa.update(tables.record_state).values(changed=tables.record_state.c.changed + 1))
            except LostRace:
                time.sleep(random.uniform(0, 0.01 * 2**attempt))
                continue
            if self._announce is not None and has_changed:
                self._announce()
            if self._follow is not None and due:
                self._follow(self)
            return results
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


@contextlib.contextmanager
def _lost_race_as_conflict() -> Iterator[None]:
    """For a view, which the caller has to ask for again."""
    try:
        yield
    except LostRace as error:
        raise ConflictError("database-busy", "the record changed while it was read; try again") from error


def open_engine(url: str) -> sa.Engine:
    """Connects to the record at an SQLAlchemy URL, and makes its tables when there are none.

    Raises:
        InvalidError: `config-invalid`, `extra-missing`, as `connect`.
        StateError: `home-version`, when another version of this package wrote it; an older SQLite file is upgraded instead.
        UnreachableError: `record-unreachable`.
        StorageError: `home-unusable`; `record-unusable`, when the file is no database; `record-denied`.
    """
    engine = connect(url)
    try:
        with _lost_race_as_conflict(), translated():
            ensure_schema(engine)
    except PachydermError:
        engine.dispose()
        raise
    return engine
