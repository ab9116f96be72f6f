"""Emptying a record that is to be rebuilt, with a copy of it kept."""

import contextlib
import datetime as dt
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata import tables
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.metadata.schema import shown


def set_aside(database: Database, now: dt.datetime) -> Path:
    """Copies the record beside itself and removes all that is in it. Returns where the copy is.

    Raises:
        StateError: `record-not-empty`, for a record on a server, which cannot be copied from here.
    """
    name = database.engine.url.database
    if database.engine.dialect.name != "sqlite" or not name:
        raise StateError(
            "record-not-empty", f"the record at {shown(database.engine)} is not empty; back it up with `pg_dump` and name an empty database in its place"
        )
    path = Path(name)
    copy = path.with_name(f"{path.name}.before-rebuild-{now:%Y%m%dT%H%M%S}")
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    database.write(_empty)
    return copy


def _empty(txn: Transaction) -> None:
    txn.connection.execute(sa.update(tables.commit).values(parent_id=None))
    for table in reversed(tables.metadata.sorted_tables):
        txn.connection.execute(sa.delete(table))
