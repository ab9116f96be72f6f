"""What only a record on a server does: connections that break, writers that meet, users without rights."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.metadata import engines, tables
from pachyderm_dagster.metadata.database import Database, Transaction, open_engine
from pachyderm_dagster.metadata.engines import connect
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.storage.open_store import open_store
from tests.records import SERVER

on_a_server = pytest.mark.skipif(SERVER is None, reason="needs PostgreSQL")


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock(), [propagate])
    yield opened
    opened.close()


def add_project(database: Database, name: str) -> None:
    database.write(lambda txn: txn.insert(tables.project, name=name, created=txn.clock.now()))


def projects(database: Database) -> list[str]:
    with database.read() as txn:
        return [row.name for row in txn.all(sa.select(tables.project).order_by(tables.project.c.id))]


def backend(txn: Transaction) -> int:
    """The server's process behind a transaction."""
    return int(txn.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def end_backend(url: str, pid: int) -> None:
    engine = connect(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    finally:
        engine.dispose()


def run_at_once(actions: list[Callable[[], None]]) -> list[BaseException]:
    """Runs each in a thread; what they raised."""
    failures: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except PachydermError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@on_a_server
def test_connection_that_breaks_in_a_change_is_said_so_and_the_next_call_works(database: Database, metadata_url: str) -> None:
    def change(txn: Transaction) -> None:
        txn.insert(tables.project, name="half", created=txn.clock.now())
        end_backend(metadata_url, backend(txn))
        txn.insert(tables.project, name="other half", created=txn.clock.now())

    with pytest.raises(UnreachableError) as caught:
        database.write(change)
    assert caught.value.code == "record-unreachable"
    assert projects(database) == []
    add_project(database, "whole")
    assert projects(database) == ["whole"]


@on_a_server
def test_connection_that_broke_between_two_calls_is_replaced_unnoticed(database: Database, metadata_url: str) -> None:
    with database.read() as txn:
        pid = backend(txn)
    end_backend(metadata_url, pid)
    add_project(database, "whole")
    assert projects(database) == ["whole"]


@on_a_server
@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_change_that_lost_a_race_is_made_again(database: Database, state: str) -> None:
    tried = []

    def change(txn: Transaction) -> None:
        txn.insert(tables.project, name="once", created=txn.clock.now())
        tried.append(txn.id)
        if len(tried) < 3:
            txn.connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'in any language' USING ERRCODE = '{state}'; END $$")

    database.write(change)
    assert len(tried) == 3
    assert projects(database) == ["once"]


@on_a_server
def test_change_that_always_loses_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.metadata.database.ATTEMPTS", 2)
    with pytest.raises(ConflictError) as caught:
        database.write(lambda txn: txn.connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"))
    assert caught.value.code == "database-busy"


@on_a_server
def test_writer_that_waits_too_long_for_another_is_told_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_WRITING", engines._WRITING.replace("statement_timeout = '60s'", "statement_timeout = '100ms'"))

    def change(txn: Transaction) -> None:
        with pytest.raises(ConflictError) as caught:
            add_project(database, "second")
        assert caught.value.code == "database-busy"
        raise KeyError

    with pytest.raises(KeyError):
        database.write(change)
    assert projects(database) == []


@on_a_server
def test_view_stays_as_it_was_while_others_write(database: Database) -> None:
    add_project(database, "first")
    with database.read() as txn:
        assert len(txn.all(sa.select(tables.project))) == 1
        add_project(database, "second")
        assert len(txn.all(sa.select(tables.project))) == 1
    assert projects(database) == ["first", "second"]


@on_a_server
def test_tables_are_made_once_by_those_who_open_a_new_record_together(metadata_url: str) -> None:
    assert run_at_once([lambda: open_engine(metadata_url).dispose()] * 8) == []


@on_a_server
def test_user_without_rights_is_refused(database: Database, metadata_url: str) -> None:
    role = "test_guest"
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    with pytest.raises(StorageError) as caught:
        database.write(lambda txn: (txn.connection.exec_driver_sql(f"SET LOCAL ROLE {role}"), txn.insert(tables.project, name="x", created=txn.clock.now())))
    assert caught.value.code == "record-denied"
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_every_one_of_many_writers_at_once_is_kept(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), SystemClock(), [propagate])
    with closing(database):
        pfs = Pfs(database, open_store("memory://"))
        pfs.create_repo("data")
        pfs.create_repo("made")
        pfs.create_branch("made@master", provenance=["data@master"])

        def put(number: int) -> Callable[[], None]:
            def action() -> None:
                with pfs.modify_file("data@master") as files:
                    files.put_bytes(f"/{number:02}", b"%d" % number)

            return action

        assert run_at_once([put(number) for number in range(64)]) == []
        assert pfs.glob_file("data@master", "/*").num_rows == 64


def test_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_engine(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(sa, "create_engine", create_engine)
    with pytest.raises(InvalidError, match=r"pachyderm-dagster\[postgresql\]") as caught:
        connect("postgresql://me:secret@server/db")
    assert caught.value.code == "extra-missing"


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@server:port/db", "me:secret@server", "mysql://me:secret@server/db", "postgresql+psycopg2://me:secret@s/d"]
)
def test_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidError, match="postgresql://") as caught:
        connect(url)
    assert caught.value.code == "config-invalid"
    assert "secret" not in str(caught.value)


def test_server_that_does_not_answer_is_said_so_without_the_password() -> None:
    with pytest.raises(UnreachableError) as caught:
        open_engine("postgresql://me:secret@127.0.0.1:1/db")
    assert caught.value.code == "record-unreachable"
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


def test_option_that_the_driver_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        open_engine("postgresql://me:secret@127.0.0.1:1/db?colour=red")
    assert caught.value.code == "config-invalid"
    assert "secret" not in str(caught.value)


@on_a_server
def test_text_that_the_server_cannot_keep_is_refused_with_a_code(database: Database) -> None:
    with pytest.raises(InvalidError) as caught:
        database.write(lambda txn: txn.insert(tables.project, name="a", description="a\0b", created=txn.clock.now()))
    assert caught.value.code == "text-invalid"
    assert projects(database) == []


@on_a_server
def test_database_of_another_encoding_is_refused() -> None:
    assert SERVER is not None
    admin = connect(SERVER)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE of_bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        try:
            with pytest.raises(InvalidError, match="encoding SQL_ASCII.*createdb --encoding UTF8") as caught:
                open_engine(sa.make_url(SERVER).set(database="of_bytes").render_as_string(hide_password=False))
        finally:
            connection.exec_driver_sql("DROP DATABASE of_bytes")
    admin.dispose()
    assert caught.value.code == "config-invalid"
