"""Emptying a record that is to be rebuilt, with a copy of it kept."""

import datetime as dt
from pathlib import Path

import sqlalchemy as sa

from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata import tables
from pachyderm_dagster.metadata.copying import copy_record
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.metadata.engines import begin_writing
from pachyderm_dagster.metadata.failures import translated
from pachyderm_dagster.metadata.schema import shown


def set_aside(database: Database, now: dt.datetime) -> Path:
    """Copies the record beside itself and removes all that is in it, while nobody else writes. Returns where the copy is.

    Raises:
        ConflictError: `database-busy`.
        StorageError: `home-unusable`, when the copy cannot be written; the record is as it was then.
        StateError: `record-not-empty`, for a record on a server, which cannot be copied from here.
    """
    name = database.engine.url.database
    if database.engine.dialect.name != "sqlite" or not name:
        raise StateError(
            "record-not-empty", f"the record at {shown(database.engine)} is not empty; back it up with `pg_dump` and name an empty database in its place"
        )
    # Not `Database.write`: nothing follows from this, and the store keeps what it holds of the record.
    with translated(), database.engine.begin() as connection:
        begin_writing(connection)
        copy = copy_record(Path(name), f"before-rebuild-{now:%Y%m%dT%H%M%S}")
        connection.execute(sa.update(tables.commit).values(parent_id=None))
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(sa.delete(table))
    return copy
