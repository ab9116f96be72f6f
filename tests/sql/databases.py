"""Databases for tests: SQLite, PostgreSQL where TEST_METADATA_URL names a server, MySQL or MariaDB where TEST_MYSQL_URL does; each empty and of its own."""

import itertools
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.sql.databases import open_database
from tests.records import new_record_url

# Read here because tests run without the caller's settings. The second may hold a password.
MYSQL = os.environ.get("TEST_MYSQL_URL")
KINDS = ("sqlite", "postgresql", "mysql")
_numbers = itertools.count()


class TestDatabase:
    """An empty database, and a look at it past the code under test."""

    __test__ = False

    def __init__(self, url: str, password: str | None) -> None:
        self.url = url
        self.password = password
        self.engine = open_database(url, password)

    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[TestDatabase]:
    """A database of a kind, removed at the end."""
    match kind:
        case "sqlite":
            (folder / "tables.db").touch()
            yield from _closing(f"sqlite:///{folder}/tables.db", None)
        case "postgresql":
            with new_record_url(folder) as url:
                yield from _closing(url.replace("postgresql+psycopg", "postgresql"), None)
        case _:
            assert MYSQL is not None
            server = sa.make_url(MYSQL)
            name = f"test_{os.getpid()}_{next(_numbers)}"
            engine = open_database(server._replace(password=None).render_as_string(), server.password)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            yield from _closing(server._replace(password=None, database=name).render_as_string(), server.password)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}")


def _closing(url: str, password: str | None) -> Iterator[TestDatabase]:
    with closing(TestDatabase(url, password)) as database:
        yield database
