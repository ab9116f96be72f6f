"""Brings a record to the newest schema; apart from `schema`, because importing Alembic takes longer than most commands."""

import logging
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.metadata.copying import copy_record
from pachyderm_dagster.metadata.engines import VERSION_TABLE, connect
from pachyderm_dagster.metadata.failures import translated
from pachyderm_dagster.metadata.schema import REVISIONS, SCHEMA_REVISION, find_revision, revision_of, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found and did."""

    record: str
    """Where the record is, without a password."""
    before: str | None
    """Its revision; None of one without tables."""
    after: str
    copy: Path | None
    """Where the record as it was is kept; only of an SQLite file that was changed."""


def upgrade_record(url: str, *, check: bool = False) -> Upgrade:
    """Upgrades the record at an SQLAlchemy URL; with `check`, only looks.

    Raises:
        NotFoundError: `record-not-found`, when there is none.
        InvalidError, StateError, ConflictError, StorageError: as `connect` and `upgrade`.
        UnreachableError: `record-unreachable`.
    """
    engine = connect(url)
    try:
        with translated():
            missing = engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists()
            found = None if missing else find_revision(engine)
            if found is None:
                raise NotFoundError("record-not-found", f"there is no record at {shown(engine)} yet; the first command that uses it makes it")
            if check and found in REVISIONS:
                return Upgrade(shown(engine), found, SCHEMA_REVISION, None)
            return upgrade(engine)
    finally:
        engine.dispose()


def upgrade(engine: sa.Engine, revision: str = SCHEMA_REVISION) -> Upgrade:
    """Runs the migrations that are missing, all in one transaction: killed half-way, it has not begun.

    Whoever comes second waits and finds nothing to do. An SQLite file is copied beside itself first, with the old revision behind its name.

    Raises:
        StateError: `home-version`, when a newer version of this package wrote the record.
        ConflictError: `database-busy`, when somebody keeps using it.
    """
    with translated():
        is_new = find_revision(engine) is None
    with translated(), engine.begin() as connection:
        _exclude_others(connection, is_new=is_new)
        before = revision_of(connection)
        if before is not None and before not in REVISIONS:
            raise StateError("home-version", f"the record at {shown(engine)} has schema {before!r}; use the version that wrote it")
        if before == revision:
            return Upgrade(shown(engine), before, revision, None)
        copy = copy_record(Path(engine.url.database), before) if before is not None and connection.dialect.name == "sqlite" and engine.url.database else None
        migrate(connection, revision)
    if copy is not None:
        log.warning("upgraded the record at %s from schema %s to %s; the one before is kept at %s", shown(engine), before, revision, copy)
    return Upgrade(shown(engine), before, revision, copy)


def migrate(connection: sa.Connection, revision: str) -> None:
    """Runs the migrations that lead to a revision, within the transaction of `connection`; from nothing too."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _exclude_others(connection: sa.Connection, *, is_new: bool) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif not is_new:
        # First of all, so that what the transaction sees is what there is after the wait.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '60s'; LOCK TABLE {VERSION_TABLE} IN EXCLUSIVE MODE")
