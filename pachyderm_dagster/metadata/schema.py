"""The schema of the record: which revision it has, made when there is none, upgraded when an older release made it."""

import importlib

import sqlalchemy as sa

from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata import tables
from pachyderm_dagster.metadata.engines import VERSION_TABLE

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Those that this version can read or upgrade, oldest first."""
SCHEMA_REVISION = REVISIONS[-1]
_CREATION_LOCK = 7274


def ensure_schema(engine: sa.Engine) -> None:
    """Makes the tables when there are none, and upgrades an older SQLite file by itself.

    A record on a server is upgraded by `pachyderm-dagster upgrade` only: others may be at work on it with the version before.

    Raises:
        StateError: `home-version`.
    """
    found = find_revision(engine)
    if found is None:
        found = _create(engine)
    if found == SCHEMA_REVISION:
        return
    if found not in REVISIONS:
        raise StateError(
            "home-version",
            f"the record at {shown(engine)} has schema {found!r}, this version reads {SCHEMA_REVISION!r}; "
            "use the version that wrote it, or point PACHYDERM_HOME to another folder",
        )
    if engine.dialect.name != "sqlite":
        raise StateError(
            "home-version",
            f"the record at {shown(engine)} has schema {found!r}, this version reads {SCHEMA_REVISION!r}; "
            "end what uses it, back it up and run `pachyderm-dagster upgrade`",
        )
    # Imported by name because importing Alembic takes longer than most commands, and one command in a home's life needs it.
    importlib.import_module("pachyderm_dagster.metadata.upgrade").upgrade(engine)


def find_revision(engine: sa.Engine) -> str | None:
    """The revision that the record says it has; None of one without tables."""
    with engine.connect() as connection:
        return revision_of(connection)


def revision_of(connection: sa.Connection) -> str | None:
    """As `find_revision`, in a transaction under way."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()


def shown(engine: sa.Engine) -> str:
    """Where the record is, without its password."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def _create(engine: sa.Engine) -> str:
    """Makes the newest schema at once; a test holds that the migrations lead to the same one."""
    # Not in one snapshot, so that whoever waited for the lock sees what the one before it made.
    connecting = engine.execution_options(isolation_level="READ COMMITTED") if engine.dialect.name != "sqlite" else engine
    with connecting.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")
        found = revision_of(connection)
        if found is None:
            tables.metadata.create_all(connection)
            connection.execute(sa.text(f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(sa.text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": SCHEMA_REVISION})
        return found or SCHEMA_REVISION
