"""Brings a record to the newest schema; apart from `schema`, because importing Alembic takes longer than most commands."""

import contextlib
import logging
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.metadata.engines import VERSION_TABLE
from pachyderm_dagster.metadata.failures import translated
from pachyderm_dagster.metadata.schema import REVISIONS, SCHEMA_REVISION, revision_of, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found and did; `before` is None of a record without tables."""

    before: str | None
    after: str
    copy: Path | None
    """Where the record as it was is kept; only of an SQLite file that was changed."""


def upgrade(engine: sa.Engine, revision: str = SCHEMA_REVISION) -> Upgrade:
    """Runs the migrations that are missing, all in one transaction: killed half-way, it has not begun.

    Whoever comes second waits and finds nothing to do. An SQLite file is copied beside itself first, with the old revision behind its name.

    Raises:
        StateError: `home-version`, when a newer version of this package wrote the record.
        ConflictError: `database-busy`, when somebody keeps using it.
    """
    with translated(), engine.begin() as connection:
        _exclude_others(connection)
        before = revision_of(connection)
        if before is not None and before not in REVISIONS:
            raise StateError("home-version", f"the record at {shown(engine)} has schema {before!r}, which is newer than {SCHEMA_REVISION!r}")
        if before == revision:
            return Upgrade(before, revision, None)
        copy = _keep_copy(Path(engine.url.database), before) if before is not None and connection.dialect.name == "sqlite" and engine.url.database else None
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    if copy is not None:
        log.warning("upgraded the record at %s from schema %s to %s; the one before is kept at %s", shown(engine), before, revision, copy)
    return Upgrade(before, revision, copy)


def _exclude_others(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif sa.inspect(connection).has_table(VERSION_TABLE):
        connection.rollback()  # a new snapshot, taken after the wait
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '60s'; LOCK TABLE {VERSION_TABLE} IN EXCLUSIVE MODE")


def _keep_copy(path: Path, revision: str) -> Path:
    """Copies the file as it is, with what its write-ahead log holds; whole under its name or not there."""
    copy = path.with_name(f"{path.name}.{revision}")
    partial = path.with_name(f"{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        _sync(partial)
        os.replace(partial, copy)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            "home-unusable", f"the record must be upgraded, and the copy of it that is kept, {copy}, cannot be written: {error}; make room for it and try again"
        ) from error
    return copy


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
