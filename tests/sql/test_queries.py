import datetime as dt
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.sql.queries import save_query
from tests.sql.databases import TestDatabase


def test_csv_has_a_header_nulls_and_quotes(database: TestDatabase, tmp_path: Path) -> None:
    database.run("CREATE TABLE t (a INTEGER, b VARCHAR(40), c DOUBLE PRECISION)")
    database.run("INSERT INTO t VALUES (2, NULL, 0.1), (1, '', 1e30), (3, 'a \"b\", c', NULL)")
    assert save_query(database.engine, "SELECT * FROM t ORDER BY a", tmp_path / "t.csv") == 3
    assert (tmp_path / "t.csv").read_text() == 'a,b,c\n1,"",1e+30\n2,,0.1\n3,"a ""b"", c",\n'


def test_an_unchanged_table_gives_the_same_bytes(database: TestDatabase, tmp_path: Path) -> None:
    database.run("CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1), (2)")
    for name in ("1.csv", "2.csv", "1.parquet", "2.parquet"):
        save_query(database.engine, "SELECT a FROM t ORDER BY a", tmp_path / name)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_parquet_has_the_types_of_the_server(database: TestDatabase, tmp_path: Path) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("others tell no types")
    database.run("CREATE TABLE t (a SMALLINT, b NUMERIC(10,2), c TIMESTAMPTZ, d DATE, e BOOLEAN, f BYTEA, g JSONB, h NUMERIC)")
    database.run("INSERT INTO t VALUES (1, 2.50, '2026-01-31T12:00:00+02', '2026-01-31', true, '\\x00ff', '{\"b\": 1, \"a\": 2}', 1.23)")
    save_query(database.engine, "SELECT * FROM t", tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert [str(field.type) for field in table.schema] == [
        "int16", "decimal128(10, 2)", "timestamp[us, tz=UTC]", "date32[day]", "bool", "binary", "string", "string"
    ]  # fmt: skip
    (row,) = table.to_pylist()
    assert row["b"] == Decimal("2.50")
    assert row["c"] == dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC)
    assert (row["f"], row["g"], row["h"]) == (b"\x00\xff", '{"a": 2, "b": 1}', "1.23")


def test_an_empty_answer_is_a_file_without_rows(database: TestDatabase, tmp_path: Path) -> None:
    database.run("CREATE TABLE t (a INTEGER)")
    assert save_query(database.engine, "SELECT a FROM t", tmp_path / "t.csv") == 0
    assert save_query(database.engine, "SELECT a FROM t", tmp_path / "t.parquet") == 0
    assert (tmp_path / "t.csv").read_text() == "a\n"
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0


def test_rows_are_streamed(database: TestDatabase, tmp_path: Path) -> None:
    number = 200_000
    database.run("CREATE TABLE t (a INTEGER)")
    query = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) SELECT i, 'some text that is long enough' AS s FROM n"
    if database.engine.dialect.name == "mysql":
        query = f"SELECT seq AS i, 'some text that is long enough' AS s FROM seq_1_to_{number}"
    tracemalloc.start()
    try:
        assert save_query(database.engine, query, tmp_path / "t.csv") == number
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("query", ["DELETE FROM t", "SELECT a, a FROM t", "SELECT b FROM t", "nonsense"])
def test_what_is_no_query_is_refused_and_changes_nothing(database: TestDatabase, tmp_path: Path, query: str) -> None:
    database.run("CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1)")
    with pytest.raises(PachydermError) as raised:
        save_query(database.engine, query, tmp_path / "t.csv")
    # SQLite calls a change where only reading is allowed a lack of rights.
    assert raised.value.code in ("query-invalid", "sql-refused", "sql-denied")
    assert database.rows("SELECT a FROM t") == [(1,)]


def test_a_column_of_two_types_is_named(tmp_path: Path, database: TestDatabase) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("columns have types")
    database.run("CREATE TABLE t (a)", *(f"INSERT INTO t VALUES ({number})" for number in range(2_001)), "INSERT INTO t VALUES ('x')")
    with pytest.raises(InvalidError, match="column 'a' is int64 in the first rows"):
        save_query(database.engine, "SELECT a FROM t ORDER BY rowid", tmp_path / "t.parquet")
    with pytest.raises(InvalidError, match=r"ends with \.csv or \.parquet"):
        save_query(database.engine, "SELECT a FROM t", tmp_path / "t.txt")
