"""Records for tests: SQLite, or PostgreSQL where TEST_METADATA_URL names a server; one suite holds for both."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from pachyderm_dagster.metadata.engines import connect

# Read here because tests run without the caller's settings.
SERVER = os.environ.get("TEST_METADATA_URL")
_numbers = itertools.count()


def home_record_url() -> str:
    """The URL of the record of the home that the environment names."""
    return os.environ.get("PACHYDERM_METADATA_URL") or f"sqlite:///{os.environ['PACHYDERM_HOME']}/metadata.db"


def lose_record() -> None:
    """Takes the record of the home away that the environment names, with all tables."""
    url = sa.make_url(home_record_url())
    if url.drivername == "sqlite":
        for path in Path(url.database or "").parent.glob("metadata.db*"):
            path.unlink()
        return
    schema = str(url.query["options"]).rpartition("=")[2]
    engine = connect(url.render_as_string(hide_password=False))
    try:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
            connection.execute(sa.schema.CreateSchema(schema))
    finally:
        engine.dispose()


def change_record(*statements: sa.Executable) -> None:
    """Changes the record of the home that the environment names behind the program's back; SQLite does not look at references then."""
    engine = connect(home_record_url())
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            for statement in statements:
                connection.execute(statement)
    finally:
        engine.dispose()


@contextmanager
def new_record_url(folder: Path) -> Iterator[str]:
    """The URL of a record that does not exist yet: a file in `folder`, or a schema of its own on the server, which is dropped at the end."""
    if SERVER is None:
        yield f"sqlite:///{folder}/metadata.db"
        return
    schema = f"test_{os.getpid()}_{next(_numbers)}"
    engine = connect(SERVER)
    try:
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        yield engine.url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
        with engine.begin() as connection:
            # A backend that a test left in the middle of something would hold its tables for ever.
            connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
    finally:
        engine.dispose()
