"""The record: schema, versions, races."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.metadata import tables
from pachyderm_dagster.metadata.database import Database, Transaction, open_engine
from pachyderm_dagster.metadata.engines import connect
from pachyderm_dagster.metadata.schema import SCHEMA_REVISION
from pachyderm_dagster.metadata.upgrade import upgrade
from tests.records import new_record_url


def schema_of(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            sorted(f"{index['column_names']} {condition_of(index)}" for index in inspector.get_indexes(table)),
            sorted(str(key["constrained_columns"]) for key in inspector.get_foreign_keys(table)),
            sorted(str(unique["column_names"]) for unique in inspector.get_unique_constraints(table)),
        )
        for table in inspector.get_table_names()
    }


def condition_of(index: Mapping[str, Any]) -> str:
    """Which rows the index has; empty for all of them."""
    return " ".join(str(value) for name, value in index.get("dialect_options", {}).items() if name.endswith("_where"))


def test_index_of_commits_to_record_leaves_the_others_out(metadata_url: str) -> None:
    engine = open_engine(metadata_url)
    found = {index["name"]: condition_of(index) for index in sa.inspect(engine).get_indexes("commit")}
    assert "recorded" in found["ix_commit_unrecorded"]
    engine.dispose()


def test_migrations_lead_to_the_same_schema_as_a_new_record(tmp_path: Path, metadata_url: str) -> None:
    (tmp_path / "fresh").mkdir()
    with new_record_url(tmp_path / "fresh") as fresh_url:
        compare_migrated(connect(metadata_url), open_engine(fresh_url))


def compare_migrated(migrated: sa.Engine, fresh: sa.Engine) -> None:
    upgrade(migrated)
    assert schema_of(migrated) == schema_of(fresh)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, tables.metadata) == []
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == SCHEMA_REVISION
    fresh.dispose()
    migrated.dispose()


def test_record_of_another_version_is_refused(metadata_url: str) -> None:
    engine = open_engine(metadata_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    with pytest.raises(StateError, match=f"'0999'.*'{SCHEMA_REVISION}'") as caught:
        open_engine(metadata_url)
    assert caught.value.code == "home-version"


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    path.write_bytes(b"certainly not a database, and longer than a header" * 100)
    with pytest.raises(StorageError) as caught:
        open_engine(f"sqlite:///{path}")
    assert caught.value.code == "record-unusable"


def test_change_that_raises_leaves_nothing(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())

    def change(txn: Transaction) -> None:
        txn.insert(tables.project, name="half", created=txn.clock.now())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write(change)
    with database.read() as txn:
        assert txn.all(sa.select(tables.project)) == []
    database.close()


def test_finishers_run_inside_the_transaction(metadata_url: str) -> None:
    seen: list[tuple[str, int]] = []

    def finisher(txn: Transaction) -> None:
        seen.append((txn.id, len(txn.all(sa.select(tables.project)))))

    database = Database(open_engine(metadata_url), ManualClock(), [finisher])
    id_in_change = database.write(lambda txn: (txn.insert(tables.project, name="p", created=txn.clock.now()), txn.id)[1])
    assert seen == [(id_in_change, 1)]
    database.close()


def test_writers_in_threads_queue_without_losing_a_change(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())
    database.write(lambda txn: txn.run(sa.insert(tables.lease).values(name="counter", owner="0", expires=txn.clock.now())))

    def count_up(txn: Transaction) -> None:
        row = txn.first(sa.select(tables.lease.c.owner))
        assert row is not None
        txn.run(sa.update(tables.lease).values(owner=str(int(row.owner) + 1)))

    threads = [threading.Thread(target=lambda: [database.write(count_up) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as txn:
        assert txn.connection.execute(sa.select(tables.lease.c.owner)).scalar_one() == "80"
    database.close()


def test_transaction_has_the_id_that_was_asked_for(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())
    assert database.write(lambda txn: txn.id, id="a" * 32) == "a" * 32
    database.close()


def test_rehearsal_runs_the_finishers_and_leaves_nothing(metadata_url: str) -> None:
    seen: list[int] = []
    database = Database(open_engine(metadata_url), ManualClock(), [lambda txn: seen.append(len(txn.all(sa.select(tables.project))))])

    def change(txn: Transaction) -> None:
        txn.insert(tables.project, name="kept", created=txn.clock.now())
        database.rehearse(txn, lambda trial: trial.insert(tables.project, name="tried", created=trial.clock.now()))

    database.write(change)
    assert seen == [2, 1]
    with database.read() as txn:
        assert [row.name for row in txn.all(sa.select(tables.project))] == ["kept"]
    database.close()


def test_rehearsal_that_fails_spoils_nothing(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())

    def failing(txn: Transaction) -> None:
        txn.insert(tables.project, name="tried", created=txn.clock.now())
        raise RuntimeError

    def change(txn: Transaction) -> None:
        with pytest.raises(RuntimeError):
            database.rehearse(txn, failing)
        txn.insert(tables.project, name="kept", created=txn.clock.now())

    database.write(change)
    with database.read() as txn:
        assert [row.name for row in txn.all(sa.select(tables.project))] == ["kept"]
    database.close()


def test_changes_in_turn_have_ids_and_ends_of_their_own_and_are_told_what_came_before(metadata_url: str) -> None:
    ended: list[str] = []
    database = Database(open_engine(metadata_url), ManualClock(), finishers=[lambda txn: ended.append(txn.id)])

    def change(previous: str | None, txn: Transaction) -> str:
        assert ended == ([] if previous is None else ["one"])
        return f"{previous} {txn.id}"

    assert database.write_in_turn([("one", change), ("two", change)]) == ["None one", "None one two"]
    assert ended == ["one", "two"]
    database.close()


def test_changes_in_turn_happen_together_or_not_at_all(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())

    def change(previous: int | None, txn: Transaction) -> int:
        if previous is not None:
            raise RuntimeError("the second fails")
        return txn.insert(tables.project, name="first", created=txn.clock.now())

    with pytest.raises(RuntimeError, match="second"):
        database.write_in_turn([("one", change), ("two", change)])
    with database.read() as txn:
        assert txn.all(sa.select(tables.project.c.name).where(tables.project.c.name == "first")) == []
    database.close()


def test_change_in_words_is_refused_for_nobody_sees_what_it_changes(metadata_url: str) -> None:
    database = Database(open_engine(metadata_url), ManualClock())
    with pytest.raises(TypeError, match="insert, an update or a delete"):
        database.write(lambda txn: txn.run(sa.text("DELETE FROM project")))  # type: ignore[arg-type]
    database.close()


def test_what_was_written_is_announced_when_others_can_see_it(metadata_url: str) -> None:
    engine = open_engine(metadata_url)
    seen: list[int] = []

    def announce() -> None:
        with Database(engine, ManualClock()).read() as txn:
            seen.append(len(txn.all(sa.select(tables.lease))))

    def add(txn: Transaction) -> None:
        txn.run(sa.insert(tables.lease).values(name=f"job/{len(seen)}", owner="a", expires=txn.clock.now()))

    def fail(txn: Transaction) -> None:
        add(txn)
        raise RuntimeError

    database = Database(engine, ManualClock(), announce=announce)
    database.write(add)
    database.write(lambda txn: txn.first(sa.select(tables.lease)))
    with pytest.raises(RuntimeError):
        database.write(fail)
    database.write(add)
    assert seen == [1, 2]
    database.close()
