"""A record whose file is damaged says so, whatever is asked of it, and says what to do."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from tests.cli.pachctl import Pachctl
from tests.records import SERVER, change_record

pytestmark = pytest.mark.skipif(SERVER is not None, reason="damages the file of the record")


@pytest.fixture
def home(environment_of_its_own: Path, pachctl: Pachctl) -> Path:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/a", "a")
    return environment_of_its_own


@pytest.mark.parametrize("table", ["branch", "repo", "job", "branch_provenance"])
def test_record_without_a_table_cannot_be_used(pachctl: Pachctl, home: Path, table: str) -> None:
    with closing(sqlite3.connect(home / "metadata.db")) as connection:
        connection.execute(f"DROP TABLE {table}")
    answer = pachctl.run("fsck")
    assert answer.code == "record-unusable"
    assert "fsck --rebuild" in answer.err


def test_head_that_is_gone_is_no_internal_error(pachctl: Pachctl, home: Path) -> None:
    change_record(sa.delete(t.commit))
    for words in (["list", "file", "data@master"], ["get", "file", "data@master:/a"], ["list", "branch", "data"], ["inspect", "commit", "data@master"]):
        answer = pachctl.run(*words)
        assert answer.status == 0 or answer.code == "record-unusable", answer.err
    assert "pachctl fsck" in pachctl.run("list", "file", "data@master").err


def test_change_of_a_record_that_cannot_be_read_back_fails(pachctl: Pachctl, home: Path) -> None:
    with closing(sqlite3.connect(home / "metadata.db")) as connection:
        connection.execute("DROP TABLE pipeline_version")
    answer = pachctl.run("create", "repo", "more")
    assert answer.code == "record-unusable"
    assert "the change is done, but the record is damaged" in answer.err
    assert "--fix` saves it" not in answer.err
