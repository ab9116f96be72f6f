"""A record that is emptied is kept as a copy, all of it."""

import contextlib
import datetime as dt
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.metadata.emptying import set_aside

NOW = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
COPY = "metadata.db.before-rebuild-20240506T070809"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A record in a file, with one project."""
    opened = Database(open_engine(f"sqlite:///{tmp_path}/metadata.db"), ManualClock())
    opened.write(lambda txn: txn.insert(t.project, name="kept", created=NOW, description=""))
    yield opened
    opened.close()


def projects(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM project")]


def test_copy_holds_what_the_record_held(database: Database, tmp_path: Path) -> None:
    assert set_aside(database, NOW) == tmp_path / COPY
    assert projects(tmp_path / COPY) == ["kept"]
    assert projects(tmp_path / "metadata.db") == []
    assert list(tmp_path.glob("*.partial")) == []


def test_record_is_not_emptied_when_the_copy_cannot_be_written(database: Database, tmp_path: Path) -> None:
    (tmp_path / f"{COPY}.partial").mkdir()
    with pytest.raises(StorageError) as caught:
        set_aside(database, NOW)
    assert caught.value.code == "home-unusable"
    with database.read() as txn:
        assert [row.name for row in txn.all(sa.select(t.project.c.name))] == ["kept"]


def test_nobody_writes_between_the_copy_and_the_emptying(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace
    said: list[str] = []

    def write_and_replace(source: Path, target: Path) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "metadata.db", timeout=0)) as other:
            try:
                other.execute("INSERT INTO project (name, created, description, metadata) VALUES ('between', 0, '', '{}')")
            except sqlite3.OperationalError as error:
                said.append(str(error))
        replace(source, target)

    monkeypatch.setattr(os, "replace", write_and_replace)
    set_aside(database, NOW)
    assert said == ["database is locked"]
