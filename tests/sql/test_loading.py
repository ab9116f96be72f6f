import contextlib
import datetime as dt
import io
import json
import os
import threading
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.sql.databases import open_database
from pachyderm_dagster.sql.loading import Loaded, TableFile, load
from pachyderm_dagster.sql.row_files import BATCH_ROWS, MAX_RECORD_BYTES, Layout
from pachyderm_dagster.sql.vocabulary import FileType
from tests.sql.databases import TestDatabase

SCORES = "CREATE TABLE scores (name VARCHAR(50) NOT NULL, points INTEGER, PRIMARY KEY (name))"


def layout(type: str, *columns: str, scratch: Path = Path("/tmp")) -> Layout:
    return Layout(FileType(type), columns, scratch)


def files(contents: dict[str, bytes]) -> Iterable[TableFile]:
    return [TableFile(path, path.split("/")[1], lambda data=data: io.BufferedReader(io.BytesIO(data))) for path, data in contents.items()]  # type: ignore[misc]


def load_files(database: TestDatabase, contents: dict[str, bytes], how: Layout) -> Loaded:
    return load(database.engine, files(contents), how)


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_each_table_is_emptied_once_and_gets_the_rows_of_all_its_files(database: TestDatabase) -> None:
    database.run(SCORES, "CREATE TABLE other (a INTEGER)", "INSERT INTO scores VALUES ('old', 1)", "INSERT INTO other VALUES (7)")
    loaded = load_files(database, {"/scores/a.csv": b"ann,1\nbob,2\n", "/scores/deep/b.csv": b"cid,3\n"}, layout("CSV"))
    assert loaded == Loaded({"scores": 3}, 2)
    assert database.rows("SELECT name, points FROM scores ORDER BY name") == [("ann", 1), ("bob", 2), ("cid", 3)]
    assert database.rows("SELECT a FROM other") == [(7,)]


def test_loading_twice_gives_the_same_rows(database: TestDatabase) -> None:
    database.run(SCORES)
    for _ in range(2):
        load_files(database, {"/scores/a.csv": b"ann,1\n"}, layout("CSV"))
    assert database.rows("SELECT * FROM scores") == [("ann", 1)]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("how", ["CSV", "JSON", "PARQUET"])
def test_each_file_is_closed_when_its_rows_are_there_or_refused(database: TestDatabase, how: str, fails: bool, tmp_path: Path) -> None:
    database.run("CREATE TABLE scores (name VARCHAR(50), points INTEGER)")
    points = "x" if fails else "1"
    contents = {"CSV": f"ann,{points}\n".encode(), "JSON": json.dumps({"name": "ann", "points": points}).encode()}
    contents["PARQUET"] = parquet(pa.table({"name": ["ann"], "points": [points]}))
    opened: list[io.BufferedReader] = []

    def open_file() -> io.BufferedReader:
        assert all(file.closed for file in opened)
        opened.append(io.BufferedReader(io.BytesIO(contents[how])))
        return opened[-1]

    with contextlib.suppress(InvalidError):
        load(database.engine, [TableFile(name, "scores", open_file) for name in ("a", "b")], layout(how, scratch=tmp_path))
    assert [file.closed for file in opened] == [True] * (1 if fails else 2)


def test_a_header_may_order_and_choose_columns(database: TestDatabase) -> None:
    database.run("CREATE TABLE scores (id INTEGER DEFAULT 5, name VARCHAR(50), points INTEGER)")
    load_files(database, {"/scores/a.csv": b"points,name\n1,ann\n", "/scores/b.csv": b"name,points\nbob,2\n"}, layout("CSV", "name", "points"))
    assert database.rows("SELECT * FROM scores ORDER BY name") == [(5, "ann", 1), (5, "bob", 2)]


def test_an_empty_field_is_null_and_an_empty_text_is_quoted(database: TestDatabase) -> None:
    database.run("CREATE TABLE scores (name VARCHAR(50), points INTEGER)")
    load_files(database, {"/scores/a.csv": b'"",\n,1\n"two\nlines, and ""quotes""",2\n'}, layout("CSV"))
    assert database.rows("SELECT name, points FROM scores") == [("", None), (None, 1), ('two\nlines, and "quotes"', 2)]


def test_json_lines_are_loaded_by_their_keys(database: TestDatabase) -> None:
    database.run("CREATE TABLE scores (name VARCHAR(50), points INTEGER, share DECIMAL(20,18))")
    lines = b'{"points": 1, "name": "ann", "share": 0.123456789012345678}\n\n{"name": "bob"}'
    load_files(database, {"/scores/a.json": lines}, layout("JSON"))
    assert database.rows("SELECT name, points FROM scores ORDER BY name") == [("ann", 1), ("bob", None)]
    (share,) = database.rows("SELECT share FROM scores WHERE name = 'ann'")[0]
    assert Decimal(share) == Decimal("0.123456789012345678") or database.engine.dialect.name == "sqlite"
    load_files(database, {"/scores/a.json": b'{"points": 3, "name": "cid", "noise": [1]}\n'}, layout("JSON", "name"))
    assert database.rows("SELECT name, points FROM scores") == [("cid", None)]


def json_rows(database: TestDatabase) -> list[Any]:
    """The column of JSON of the table `notes`, parsed."""
    return [None if text is None else json.loads(text, parse_float=Decimal) for (text,) in database.rows("SELECT CAST(c AS CHAR(200)) FROM notes ORDER BY n")]


def make_notes(database: TestDatabase) -> None:
    with database.engine.connect() as connection:
        # Known once it is connected to.
        if getattr(connection.dialect, "is_mariadb", False):
            pytest.skip("MariaDB calls its JSON a text")
    database.run("CREATE TABLE notes (n INTEGER, c JSON)")


def test_a_value_of_json_lines_is_that_value_in_a_column_of_json(database: TestDatabase) -> None:
    make_notes(database)
    values = ["true", "1", "hello", True, 1, None, {"k": ["1", None]}, '{"k": 1}']
    lines = "".join(json.dumps({"n": number, "c": value}) + "\n" for number, value in enumerate(values))
    load_files(database, {"/notes/a": lines.encode()}, layout("JSON"))
    assert json_rows(database) == values


def test_numbers_keep_all_their_digits_in_a_column_of_json(database: TestDatabase) -> None:
    make_notes(database)
    load_files(database, {"/notes/a": b'{"n": 1, "c": {"share": 0.12345678901234567, "big": 123456789012345678901234567890}}\n'}, layout("JSON"))
    (text,) = database.rows("SELECT CAST(c AS CHAR(200)) FROM notes")[0]
    if database.engine.dialect.name != "mysql":  # which keeps such a number as a double
        assert json.loads(text, parse_float=Decimal) == {"share": Decimal("0.12345678901234567"), "big": 123456789012345678901234567890}


@pytest.mark.parametrize("how", ["CSV", "PARQUET"])
def test_texts_of_csv_and_parquet_are_json_in_a_column_of_json(database: TestDatabase, how: str, tmp_path: Path) -> None:
    make_notes(database)
    texts = ['{"k": 1}', '"hello"', "true"]
    data = parquet(pa.table({"n": [0, 1, 2], "c": texts}))
    if how == "CSV":
        data = "".join(f'{number},"{text.replace(chr(34), chr(34) * 2)}"\n' for number, text in enumerate(texts)).encode()
    load_files(database, {"/notes/a": data}, layout(how, scratch=tmp_path))
    assert json_rows(database) == [{"k": 1}, "hello", True]


def test_a_value_that_is_no_json_is_refused(database: TestDatabase) -> None:
    make_notes(database)
    for how, data in (("CSV", b"1,hello\n"), ("JSON", b'{"n": 1, "c": [NaN]}\n'), ("JSON", b'{"n": 1, "c": ' + b"[" * 600 + b"]" * 600 + b"}\n")):
        with pytest.raises(InvalidError) as raised:
            load_files(database, {"/notes/a": data}, layout(how))
        assert "row 1: column 'c' of 'notes'" in raised.value.message


def test_parquet_is_loaded_with_its_types(database: TestDatabase, tmp_path: Path) -> None:
    database.run("CREATE TABLE facts (day DATE, moment TIMESTAMP NULL, amount DECIMAL(10,2), flag BOOLEAN, ratio DOUBLE PRECISION, note VARCHAR(20))")
    moment = dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)
    table = pa.table(
        {
            "note": ["x", None],
            "day": [dt.date(2026, 1, 31), None],
            "moment": [moment, None],
            "amount": [Decimal("12.50"), None],
            "flag": [True, None],
            "ratio": [0.25, None],
        }
    )
    assert load_files(database, {"/facts/a.parquet": parquet(table)}, layout("PARQUET", scratch=tmp_path)).rows == {"facts": 2}
    row = database.rows("SELECT day, moment, amount, flag, ratio, note FROM facts WHERE note = 'x'")[0]
    assert (str(row[0]), str(row[1]), Decimal(str(row[2])), bool(row[3]), row[4]) == ("2026-01-31", "2026-01-31 12:30:00", Decimal("12.50"), True, 0.25)
    load_files(database, {"/facts/a.parquet": parquet(table)}, layout("PARQUET", "note", "flag", scratch=tmp_path))
    assert database.rows("SELECT count(*), count(day), count(note) FROM facts") == [(2, 0, 1)]


def test_texts_of_csv_become_what_the_columns_are(database: TestDatabase) -> None:
    database.run("CREATE TABLE facts (day DATE, moment TIMESTAMP NULL, amount DECIMAL(10,2), flag BOOLEAN, ratio DOUBLE PRECISION)")
    load_files(database, {"/facts/a": b"2026-01-31,2026-01-31T12:30:00Z,12.50,true,2.5e-1\n,,,,\n"}, layout("CSV"))
    row = database.rows("SELECT day, moment, amount, flag, ratio FROM facts WHERE ratio IS NOT NULL")[0]
    assert (str(row[0]), str(row[1]), Decimal(str(row[2])), bool(row[3]), row[4]) == ("2026-01-31", "2026-01-31 12:30:00", Decimal("12.50"), True, 0.25)


@pytest.mark.parametrize(
    ("name", "data", "how", "problem"),
    [
        ("a", b"ann,1\nbob,x\n", layout("CSV"), "row 2: column 'points' of 'scores' is INTEGER, and does not take 'x'"),
        ("a", b"ann,1\nbob\n", layout("CSV"), "Row #2: Expected 2 columns, got 1"),
        ("a", b"name,points\nann,1\n", layout("CSV"), "say so with `columns`"),
        ("a", b"ann,1\n", layout("CSV", "name", "points"), "its first line is ann, 1"),
        ("a", b"ann,1\n", layout("CSV", "name", "height"), "the table has no column 'height'"),
        ("a", b'"ann,1\n', layout("CSV"), ""),
        ("a", b'{"name": "ann"}\n{"name": "bob", "height": 2}\n', layout("JSON"), "line 2: the table has no column 'height'"),
        ("a", b'{"name": "ann"}\n[1]\n', layout("JSON"), "line 2 is no object"),
        ("a", b'{"name": "ann"}\n{"name":\n', layout("JSON"), "line 2 is no JSON"),
        ("a", b'{"name": "ann", "points": 1.5}\n', layout("JSON"), "does not take Decimal('1.5')"),
        ("a", b"ann,1\n", layout("PARQUET"), "is no Parquet file"),
        ("a", parquet(pa.table({"name": ["ann"]})), layout("PARQUET", "points"), "has no column 'points'"),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_changes_nothing(database: TestDatabase, name: str, data: bytes, how: Layout, problem: str) -> None:
    database.run(SCORES, "INSERT INTO scores VALUES ('old', 1)")
    with pytest.raises(InvalidError) as raised:
        load_files(database, {f"/scores/{name}": data}, how)
    assert raised.value.code == "sql-file-invalid"
    assert raised.value.message.startswith("/scores/a: ")
    assert problem in raised.value.message
    assert database.rows("SELECT * FROM scores") == [("old", 1)]


def test_what_the_database_refuses_in_the_last_file_leaves_all_tables_as_they_were(database: TestDatabase) -> None:
    database.run(SCORES, "CREATE TABLE early (a INTEGER)", "INSERT INTO scores VALUES ('old', 1)", "INSERT INTO early VALUES (7)")
    contents = {"/early/a": b"1\n2\n", "/scores/a": b"ann,1\n", "/scores/b": b"bob,2\nann,3\n"}
    with pytest.raises(InvalidError) as raised:
        load_files(database, contents, layout("CSV"))
    assert raised.value.code == "sql-refused"
    assert f"/scores/b, {'row 2' if database.is_postgresql else 'one of the rows 1 to 2'}: " in raised.value.message
    assert database.rows("SELECT * FROM scores") == [("old", 1)]
    assert database.rows("SELECT * FROM early") == [(7,)]


def test_a_check_that_raises_between_batches_leaves_the_table_as_it_was(database: TestDatabase) -> None:
    database.run("CREATE TABLE numbers (a INTEGER)", "INSERT INTO numbers VALUES (-1)")
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    data = b"".join(b"%d\n" % number for number in range(BATCH_ROWS * 5))
    with pytest.raises(KeyboardInterrupt):
        load(database.engine, files({"/numbers/a": data}), layout("CSV"), check)
    assert database.rows("SELECT a FROM numbers") == [(-1,)]


def test_a_missing_table_is_named(database: TestDatabase) -> None:
    with pytest.raises(NotFoundError, match=r"/scores\.csv: there is no table 'scores\.csv'") as raised:
        load_files(database, {"/scores.csv": b"ann,1\n"}, layout("CSV"))
    assert raised.value.code == "table-not-found"


def test_names_are_only_names(database: TestDatabase) -> None:
    """Tables and columns with quotes, spaces, percent signs and keywords; a file that is named as an injection finds no table."""
    quote = database.engine.dialect.identifier_preparer.quote_identifier
    table, columns = 'or"der`s; --', ["a b", "select", "100%", "q?", 'x"y', "(z)", "a:b"]
    database.run(f"CREATE TABLE {quote(table)} ({', '.join(f'{quote(column)} INTEGER' for column in columns)})")
    how = layout("CSV", *columns)
    header = ",".join('"{}"'.format(column.replace('"', '""')) for column in columns).encode()
    load_files(database, {f"/{table}/a": header + b"\n1,2,3,4,5,6,7\n"}, how)
    with database.engine.begin() as connection:
        assert [tuple(row) for row in connection.execute(sa.select(sa.text("*")).select_from(sa.table(sa.quoted_name(table, True))))] == [(1, 2, 3, 4, 5, 6, 7)]
    with pytest.raises(NotFoundError):
        load_files(database, {f"/{table}; DROP TABLE {table}/a": b"1\n"}, layout("CSV"))


def test_no_files_change_nothing(database: TestDatabase) -> None:
    assert load_files(database, {}, layout("CSV")) == Loaded({}, 0)


def test_an_empty_file_empties_its_table(database: TestDatabase) -> None:
    database.run(SCORES, "INSERT INTO scores VALUES ('old', 1)")
    for how in (layout("CSV"), layout("CSV", "name"), layout("JSON")):
        assert load_files(database, {"/scores/a": b""}, how) == Loaded({"scores": 0}, 1)
    assert database.rows("SELECT * FROM scores") == []


def test_many_rows_are_loaded_in_batches(database: TestDatabase) -> None:
    database.run("CREATE TABLE numbers (a INTEGER, b VARCHAR(10))")
    number = 3 * BATCH_ROWS + 1
    data = b"".join(b"%d,%d\n" % (one, one) for one in range(number))
    assert load_files(database, {"/numbers/a": data}, layout("CSV")).rows == {"numbers": number}
    assert database.rows("SELECT count(*), sum(a) FROM numbers") == [(number, number * (number - 1) // 2)]


def test_a_row_that_is_refused_in_a_later_batch_is_named(database: TestDatabase) -> None:
    database.run("CREATE TABLE numbers (a INTEGER PRIMARY KEY)")
    data = b"".join(b"%d\n" % one for one in range(BATCH_ROWS + 6)) + b"5\n6\n"
    with pytest.raises(InvalidError) as raised:
        load_files(database, {"/numbers/a": data}, layout("CSV"))
    where = "row 2007" if database.is_postgresql else "one of the rows 2001 to 2008"
    assert raised.value.message.startswith(f"/numbers/a, {where}: ")
    assert "COPY" not in raised.value.message


def test_texts_are_loaded_as_they_are(database: TestDatabase) -> None:
    """What COPY, a statement or a driver could take for something else."""
    texts = ["\\N", "\\.", "a\tb", "a\nb", "a\r\nb", "\\", "\\x41", "%s", "%(v0)s", "?", ":v0", "'; --", '"', "\u00e9\U0001f41d", " "]
    database.run("CREATE TABLE texts (id INTEGER, v0 VARCHAR(50))")
    lines = "".join(json.dumps({"id": number, "v0": text}) + "\n" for number, text in enumerate([*texts, None]))
    load_files(database, {"/texts/a": lines.encode()}, layout("JSON"))
    assert database.rows("SELECT v0 FROM texts ORDER BY id") == [(text,) for text in [*texts, None]]


def test_views_are_loaded_as_their_tables(database: TestDatabase) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("its views only read")
    database.run(SCORES, "INSERT INTO scores VALUES ('old', 1)", "CREATE VIEW shown AS SELECT name, points FROM scores")
    load_files(database, {"/shown/a": b"ann,1\n"}, layout("CSV"))
    assert database.rows("SELECT * FROM scores") == [("ann", 1)]


def test_policies_of_rows_hold(database: TestDatabase) -> None:
    if not database.is_postgresql:
        pytest.skip("policies of PostgreSQL")
    role = f"loader_{os.getpid()}"
    schema = database.rows("SELECT current_schema()")[0][0]
    database.run(
        f"{SCORES.removesuffix(')')}, CHECK (points < 100))",
        "ALTER TABLE scores ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON scores USING (points < 10)",
        "INSERT INTO scores VALUES ('kept', 50)",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT ALL ON scores TO {role}",
    )
    engine = open_database(sa.make_url(database.url)._replace(username=role).render_as_string(), None)
    try:
        load(engine, files({"/scores/a": b"ann,1\n"}), layout("CSV"))
        assert database.rows("SELECT name FROM scores ORDER BY name") == [("ann",), ("kept",)]
        with pytest.raises(StorageError) as raised:
            load(engine, files({"/scores/a": b"bob,20\n"}), layout("CSV"))
        assert raised.value.code == "sql-denied"
    finally:
        engine.dispose()
        database.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_two_loads_at_once_leave_the_rows_of_one(database: TestDatabase) -> None:
    database.run("CREATE TABLE numbers (a INTEGER)")
    begun, errors = threading.Barrier(2), []

    def load_one(value: int) -> None:
        engine = open_database(database.url, database.password)
        begun.wait()
        try:
            load(engine, files({"/numbers/a": b"%d\n" % value * 3_000}), layout("CSV"))
        except PachydermError as error:
            errors.append(error.code)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=load_one, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # MySQL lets two into an empty table and ends one of them as a deadlock: that one is tried again.
    assert errors in ([], ["sql-busy"])
    assert database.rows("SELECT count(*), max(a) - min(a) FROM numbers") == [(3_000, 0)]


def test_a_row_longer_than_the_limit_is_refused(database: TestDatabase) -> None:
    database.run("CREATE TABLE texts (a TEXT)")
    for how, data in ((layout("CSV"), b"x" * (3 * MAX_RECORD_BYTES)), (layout("JSON"), b'{"a": "' + b"x" * MAX_RECORD_BYTES + b'"}')):
        with pytest.raises(InvalidError, match="longer than 8 MiB"):
            load_files(database, {"/texts/a": data}, how)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    for url in ("postgresql://nobody@127.0.0.1:1/none", "mysql://nobody@127.0.0.1:1/none"):
        with pytest.raises(UnreachableError) as raised:
            load(open_database(url, "hidden"), files({"/a/b": b""}), layout("CSV"))
        assert raised.value.code == "sql-unreachable"
        assert "hidden" not in str(raised.value)


def test_a_wrong_password_is_denied(database: TestDatabase) -> None:
    if database.engine.dialect.name != "mysql":
        pytest.skip("the servers of the other tests ask for no password")
    with pytest.raises(StorageError) as raised:
        load(open_database(database.url, "wrong"), files({"/a/b": b""}), layout("CSV"))
    assert raised.value.code == "sql-denied"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("oracle://h/d", "'oracle'"),
        ("snowflake://u@account/d", "no driver"),
        ("postgresql://u:secret@h/d", "holds a password"),
        ("postgresql://u@h", "names no database"),
        ("postgresql:///d", "names no host"),
        ("postgresql://h:port/d", "does not parse"),
        ("sqlite:///relative.db", "four slashes"),
        ("", "it takes postgresql://"),
    ],
)
def test_other_urls_are_refused(url: str, problem: str) -> None:
    with pytest.raises(InvalidError) as raised:
        open_database(url, None)
    assert raised.value.code == "sql-url-invalid"
    assert problem in raised.value.message
    assert "secret@" not in raised.value.message


def test_an_sqlite_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as raised:
        open_database(f"sqlite:///{tmp_path}/none.db", None)
    assert raised.value.code == "database-missing"
    assert not (tmp_path / "none.db").exists()


def test_types_that_are_not_known_here_are_the_databases_affair(database: TestDatabase) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("types of PostgreSQL")
    database.run("CREATE TABLE odd (a INTEGER[], b INET, c JSONB, d UUID, e INTERVAL, f BYTEA)")
    row: list[Any] = ["{1,2}", "10.0.0.1", '{""k"": 1}', "6b0c8d5e-0d0c-4c3f-9f0e-1b2c3d4e5f60", "1 day", "\\x0aff"]
    load_files(database, {"/odd/a": ",".join(f'"{field}"' for field in row).encode() + b"\n"}, layout("CSV"))
    assert database.rows("SELECT a::text, b::text, c::text, d::text, e::text, encode(f, 'hex') FROM odd") == [
        ("{1,2}", "10.0.0.1/32", '{"k": 1}', "6b0c8d5e-0d0c-4c3f-9f0e-1b2c3d4e5f60", "1 day", "0aff")
    ]


def test_a_server_that_ends_the_connection_in_the_middle_leaves_the_table_as_it_was(database: TestDatabase) -> None:
    dialect = database.engine.dialect.name
    if dialect == "sqlite":
        pytest.skip("no server")
    database.run("CREATE TABLE numbers (a INTEGER)", "INSERT INTO numbers VALUES (-1)")
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 3:
            if dialect == "mysql":
                (pid,) = database.rows("SELECT trx_mysql_thread_id FROM information_schema.innodb_trx")[0]
                database.run(f"KILL {pid}")
            else:
                database.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'numbers'::regclass AND pid <> pg_backend_pid()")

    data = b"".join(b"%d\n" % number for number in range(BATCH_ROWS * 5))
    with pytest.raises(UnreachableError) as raised:
        load(database.engine, files({"/numbers/a": data}), layout("CSV"), check)
    assert raised.value.code == "sql-unreachable"
    assert database.rows("SELECT a FROM numbers") == [(-1,)]
