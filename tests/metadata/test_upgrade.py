"""A home of the release before opens with everything that was in it."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.metadata.database import open_engine
from pachyderm_dagster.metadata.engines import connect
from pachyderm_dagster.metadata.schema import SCHEMA_REVISION, find_revision
from pachyderm_dagster.metadata.upgrade import upgrade, upgrade_record
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.records import SERVER

HOMES = Path(__file__).parent / "homes"
ROOT = Path(__file__).parents[2]
# Upgrades a record, and is killed before its statement of the given number.
KILLED = """
import os, signal, sys
import sqlalchemy as sa
from sqlalchemy import event
from pachyderm_dagster.metadata.database import open_engine
left = int(sys.argv[2])
@event.listens_for(sa.Engine, "before_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
open_engine(sys.argv[1]).dispose()
print("upgraded")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home that schema 0001 had."""
    folder = tmp_path / "home"
    with tarfile.open(HOMES / "0001.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def second_home(tmp_path: Path) -> Path:
    """The home that schema 0002 had: a pipeline in two versions, and an open transaction that makes another."""
    folder = tmp_path / "home"
    with tarfile.open(HOMES / "0002.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def url_of(home: Path) -> str:
    return f"sqlite:///{home / 'metadata.db'}"


def open_home(home: Path) -> Workspace:
    return open_workspace({"PACHYDERM_HOME": str(home)})


def rows_of(url: str, columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """What these tables hold in these columns, read without this package's tables."""
    engine = connect(url)
    quote = engine.dialect.identifier_preparer.quote_identifier
    with closing_engine(engine), engine.connect() as connection:
        return {
            table: sorted(repr(tuple(row)) for row in connection.exec_driver_sql(f"SELECT {', '.join(map(quote, names))} FROM {quote(table)}"))
            for table, names in columns.items()
        }


@contextmanager
def closing_engine(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


def columns_of(url: str) -> dict[str, list[str]]:
    engine = connect(url)
    with closing_engine(engine):
        inspector = sa.inspect(engine)
        return {table: [column["name"] for column in inspector.get_columns(table)] for table in inspector.get_table_names() if table != "alembic_version"}


def revision_at(url: str) -> str | None:
    engine = connect(url)
    with closing_engine(engine):
        return find_revision(engine)


def read(home: Workspace, reference: str) -> bytes:
    return b"".join(home.pfs.get_file(reference))


def test_every_row_is_there_after_the_upgrade_and_in_the_copy(home: Path) -> None:
    columns = columns_of(url_of(home))
    before = rows_of(url_of(home), columns)
    assert revision_at(url_of(home)) == "0001"
    assert len(before["commit"]) == 8
    open_engine(url_of(home)).dispose()
    assert revision_at(url_of(home)) == SCHEMA_REVISION
    assert rows_of(url_of(home), columns) == before
    copy = f"sqlite:///{home / 'metadata.db.0001'}"
    assert revision_at(copy) == "0001"
    assert rows_of(copy, columns) == before


def test_files_and_branches_read_the_same(home: Path) -> None:
    with closing(open_home(home)) as opened:
        for branch in ("data@master", "copy@master"):
            assert [read(opened, f"{branch}:/{name}.txt") for name in "abc"] == [b"alpha\n", b"beta\n", b"gamma\n"]
        assert opened.pfs.glob_file("data@old", "**").column("path").to_pylist() == ["/a.txt", "/b.txt"]
        assert opened.pfs.inspect_branch("data@master").head == "6a88185501b34885ba28bab60192d1c0"
        assert opened.pfs.inspect_repo("data").description == "what comes in"


def test_commit_that_was_open_can_be_written_and_finished(home: Path) -> None:
    with closing(open_home(home)) as opened:
        with opened.pfs.modify_file("data@work") as files:
            files.put_bytes("/p.txt", b"more")
        finished = opened.pfs.finish_commit("data@work")
        assert finished.id == "ee87ddc3eb774e11a0fdc1f67ad99887"
        assert read(opened, "data@work:/o.txt") == b"open\n"
        assert read(opened, "data@work:/p.txt") == b"more"


def test_pipeline_runs_on_and_skips_what_it_did_before(home: Path) -> None:
    environ = {"PACHYDERM_HOME": str(home), "PACHYDERM_METADATA_URL": url_of(home)}
    with closing(open_workspace(environ)) as opened:
        with opened.pfs.modify_file("data@master") as files:
            files.put_bytes("/d.txt", b"delta\n")
        set_id = files.commit.id
    pachctl = [sys.executable, "-m", "pachyderm_dagster"]
    subprocess.run([*pachctl, "wait", "commit", set_id], cwd=ROOT, env={**os.environ, **environ}, check=True, capture_output=True)
    with closing(open_workspace(environ)) as opened:
        assert read(opened, "copy@master:/d.txt") == b"delta\n"
        with opened.database.read() as txn:
            (job,) = jobs.list_job(txn, set_id=set_id)
        assert (job.counters.data_processed, job.counters.data_skipped) == (1, 3)


def test_pipelines_of_the_second_schema_keep_their_specifications(second_home: Path) -> None:
    with closing(open_home(second_home)) as opened, opened.database.read() as txn:
        (pipeline,) = pipelines.list_pipeline(txn)
        assert (pipeline.version, pipeline.user.document, pipeline.user.text) == (2, pipeline.spec.to_json(), "")
        assert pipeline.spec.transform.stdin == ("cp /pfs/data/* /pfs/out/",)


def test_transaction_of_the_second_schema_can_be_finished(second_home: Path) -> None:
    with closing(open_home(second_home)) as opened:
        opened.pps.finish_transaction("338cbd1a0a9d44faa04f715c4feb148f")
        with opened.database.read() as txn:
            assert [pipeline.name.name for pipeline in pipelines.list_pipeline(txn)] == ["again", "copy"]


def test_upgrade_is_told_once(home: Path) -> None:
    command = [sys.executable, "-m", "pachyderm_dagster", "list", "repo"]
    environ = {**os.environ, "PACHYDERM_HOME": str(home), "PACHYDERM_METADATA_URL": url_of(home)}
    said = [subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True).stderr for _ in range(2)]
    assert said[0].count("\n") == 1
    assert f"from schema 0001 to {SCHEMA_REVISION}" in said[0]
    assert str(home / "metadata.db.0001") in said[0]
    assert said[1] == ""


def test_processes_that_open_an_old_home_at_once_upgrade_it_once(home: Path) -> None:
    command = [sys.executable, "-c", "import sys; from pachyderm_dagster.metadata.database import open_engine; open_engine(sys.argv[1]).dispose()"]
    running = [subprocess.Popen([*command, url_of(home)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert sum("upgraded the record" in text for text in said) == 1
    assert revision_at(url_of(home)) == SCHEMA_REVISION


@pytest.mark.parametrize("statement", [4, 6, 12, 17, 25, 30])
def test_killed_upgrade_has_not_begun_and_is_done_by_the_next_command(home: Path, statement: int) -> None:
    columns = columns_of(url_of(home))
    before = rows_of(url_of(home), columns)
    killed = subprocess.run([sys.executable, "-c", KILLED, url_of(home), str(statement)], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert revision_at(url_of(home)) == "0001"
    assert columns_of(url_of(home)) == columns
    open_engine(url_of(home)).dispose()
    assert revision_at(url_of(home)) == SCHEMA_REVISION
    assert rows_of(url_of(home), columns) == before
    assert not (home / "metadata.db.0001.partial").exists()


def test_check_looks_and_changes_nothing(home: Path) -> None:
    found = upgrade_record(url_of(home), check=True)
    assert (found.before, found.after, found.copy) == ("0001", SCHEMA_REVISION, None)
    assert revision_at(url_of(home)) == "0001"


def test_command_upgrades_and_says_what_it_did(home: Path) -> None:
    command = [sys.executable, "-m", "pachyderm_dagster", "upgrade", "-o", "json"]
    environ = {**os.environ, "PACHYDERM_HOME": str(home), "PACHYDERM_METADATA_URL": url_of(home)}
    check = subprocess.run([*command, "--check"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (check.returncode, "[home-version]" in check.stderr) == (1, True)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"record": url_of(home), "from": "0001", "to": SCHEMA_REVISION, "copy": str(home / "metadata.db.0001")}
    subprocess.run([*command, "--check"], cwd=ROOT, env=environ, capture_output=True, check=True)


def test_home_without_a_record_has_nothing_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        upgrade_record(f"sqlite:///{tmp_path}/metadata.db")
    assert caught.value.code == "record-not-found"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(SERVER is None, reason="needs PostgreSQL")
def test_record_on_a_server_waits_for_the_command(metadata_url: str) -> None:
    engine = connect(metadata_url)
    with closing_engine(engine):
        upgrade(engine, "0001")
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO project (name, created, description) VALUES ('kept', now(), '')")
    with pytest.raises(StateError, match="pachyderm-dagster upgrade") as caught:
        open_engine(metadata_url)
    assert caught.value.code == "home-version"
    done = upgrade_record(metadata_url)
    assert (done.before, done.after, done.copy) == ("0001", SCHEMA_REVISION, None)
    engine = open_engine(metadata_url)
    with closing_engine(engine), engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name, metadata FROM project").all() == [("kept", {})]
