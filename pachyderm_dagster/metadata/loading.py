"""Makes a record from rows that another one held, of this or of an earlier schema, all in one transaction."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.counting import count_on
from pachyderm_dagster.metadata.dumping import PASSING, Batch
from pachyderm_dagster.metadata.engines import VERSION_TABLE
from pachyderm_dagster.metadata.failures import translated
from pachyderm_dagster.metadata.schema import REVISIONS, SCHEMA_REVISION, revision_of, shown
from pachyderm_dagster.metadata.upgrade import migrate


@dataclass(frozen=True, slots=True)
class Loading:
    """Rows, and what they need around them.

    Attributes:
        revision: the schema that they are of.
        last_rows: of each table the greatest row id that it ever gave.
        finish: run at the end, inside the transaction, on the newest schema.
    """

    revision: str
    batches: Iterable[Batch]
    last_rows: Mapping[str, int]
    finish: Callable[[sa.Connection], None]


def load(engine: sa.Engine, loading: Loading) -> None:
    """Fills a record that is new or empty. It is as it was before when this fails or is killed.

    Raises:
        StateError: `home-not-empty`; `home-version`, when a newer version of this package wrote the record or the rows.
        StorageError: `extract-corrupt`, when the rows are none of that schema.
    """
    check_revision(loading.revision)
    with translated(), engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        check_blank(connection)
        _make_schema(connection, loading.revision)
        _insert(connection, loading.batches)
        for name, last in loading.last_rows.items():
            count_on(connection, name, last)
        migrate(connection, SCHEMA_REVISION)
        loading.finish(connection)


def check_revision(revision: str) -> None:
    """Does nothing for a schema that this version can read or upgrade.

    Raises:
        StateError: `home-version`.
    """
    if revision not in REVISIONS:
        raise StateError(
            "home-version", f"the extract is of schema {revision!r}, this version reads up to {SCHEMA_REVISION!r}; use the one that wrote it, or a later one"
        )


def check_blank(connection: sa.Connection) -> None:
    """Does nothing when a record has no tables, or nothing in them but whose the store is.

    Raises:
        StateError: `home-not-empty`; `home-version`, when another version of this package made it.
    """
    found = revision_of(connection)
    if found is None:
        return
    if found != SCHEMA_REVISION:
        raise StateError("home-version", f"the record at {shown(connection.engine)} has schema {found!r}, not {SCHEMA_REVISION!r}; restore into a new one")
    for table in t.metadata.sorted_tables:
        if table.name not in PASSING and table is not t.record_state and connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise StateError(
                "home-not-empty",
                f"the record at {shown(connection.engine)} holds something (table {table.name!r}); restore into a new home: "
                "set PACHYDERM_HOME, or PACHYDERM_METADATA_URL and PACHYDERM_STORAGE_URL, to places where nothing is",
            )


def _make_schema(connection: sa.Connection, revision: str) -> None:
    if revision_of(connection) is not None:
        t.metadata.drop_all(connection)
        connection.execute(sa.text(f"DROP TABLE {VERSION_TABLE}"))
    migrate(connection, revision)


def _insert(connection: sa.Connection, batches: Iterable[Batch]) -> None:
    """Inserts rows into the tables as they are in the schema that was made, which may be an older one than `tables` has."""
    schema = sa.MetaData()
    schema.reflect(connection)
    for table in schema.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.DateTime):
                column.type = t.UtcDateTime()
    for table in reversed(schema.sorted_tables):
        if table.name != VERSION_TABLE:
            # What the migrations themselves put there.
            connection.execute(sa.delete(table))
    for batch in batches:
        found = schema.tables.get(batch.table)
        if found is None or not {*batch.columns} <= {*found.columns.keys()}:
            raise StorageError("extract-corrupt", f"the extract has rows of a table {batch.table!r} that its schema does not have; extract again")
        connection.execute(sa.insert(found), [_values(batch.columns, row) for row in batch.rows])


def _values(columns: tuple[str, ...], row: list[Any]) -> dict[str, Any]:
    return dict(zip(columns, row, strict=True))
