"""A table into commits and back, from the command line: a cron pipeline that reads a query, and an egress, each with a password from a secret."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.pachctl import Pachctl
from tests.sql.databases import TestDatabase

PASSWORD = "let me in"
READ = """
pipeline: {{name: orders}}
input: {{cron: {{name: tick, spec: '@never', overwrite: true}}}}
transform:
  cmd: [sh, -e]
  stdin: ['{python} -m pachyderm_dagster sql query --url "$DATABASE" --file "$PFS_ROOT/out/orders.csv" "SELECT id, name, price FROM orders ORDER BY id"']
  env: {{DATABASE: '{url}'}}
  secrets: [{{name: account, key: password, env_var: PACHYDERM_SQL_PASSWORD}}]
"""
WRITE = """
pipeline: {{name: prices}}
input: {{pfs: {{repo: orders, glob: /*}}}}
transform:
  cmd: [sh, -e]
  stdin: ['mkdir "$PFS_ROOT/out/prices"', 'cp "$PFS_ROOT/orders/orders.csv" "$PFS_ROOT/out/prices/"']
egress:
  sql_database: {{url: '{url}', file_format: {{type: CSV, columns: [id, name, price]}}, secret: {{name: account, key: password}}}}
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with two tables, and its URL for an account with a password."""

    database: TestDatabase
    url: str


@pytest.fixture
def shop(database: TestDatabase) -> Iterator[Shop]:
    columns = "(id INTEGER, name VARCHAR(20), price DECIMAL(8,2))"
    database.run(f"CREATE TABLE orders {columns}", f"CREATE TABLE prices {columns}", "INSERT INTO orders VALUES (1, 'pear', 1.50), (2, NULL, 0.25)")
    if database.engine.dialect.name != "mysql":
        yield Shop(database, database.url)
        return
    url = sa.make_url(database.url)
    account = f"shop_{url.database}"
    database.run(f"CREATE USER {account} IDENTIFIED BY '{PASSWORD}'", f"GRANT ALL ON {url.database}.* TO {account}")
    yield Shop(database, url.set(username=account).render_as_string())
    database.run(f"DROP USER {account}")


def create(pachctl: Pachctl, shop: Shop, folder: Path, *, password: str = PASSWORD) -> None:
    secret = folder / "secret.json"
    secret.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account"}, "stringData": {"password": password}}))
    pachctl("create", "secret", "-f", str(secret))
    for text in (READ, WRITE):
        pachctl("create", "pipeline", stdin=text.format(url=shop.url, python=sys.executable).encode())


def tick(pachctl: Pachctl) -> None:
    pachctl("run", "cron", "orders")
    pachctl("flush", "commit", "orders_tick@master")


def test_a_table_is_read_into_commits_and_their_rows_go_to_another(shop: Shop, pachctl: Pachctl, tmp_path: Path) -> None:
    create(pachctl, shop, tmp_path)
    tick(pachctl)
    # SQLite has no exact decimals.
    pear = "1.5" if shop.database.engine.dialect.name == "sqlite" else "1.50"
    assert pachctl("get", "file", "orders@master:/orders.csv").out == f"id,name,price\n1,pear,{pear}\n2,,0.25\n"
    assert [(number, name, float(price)) for number, name, price in shop.database.rows("SELECT * FROM prices ORDER BY id")] == [
        (1, "pear", 1.5),
        (2, None, 0.25),
    ]
    tick(pachctl)
    same = pachctl.json("list", "job", "-p", "prices")[0]
    assert (same["data_processed"], same["data_skipped"]) == (0, 1), "the same rows are the same snapshot"
    shop.database.run("DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (3, 'caf\u00e9', 2)")
    tick(pachctl)
    assert shop.database.rows("SELECT id, name FROM prices ORDER BY id") == [(2, None), (3, "caf\u00e9")]
    assert b"pear" in pachctl("get", "file", "orders@master^:/orders.csv").data
    newest = pachctl.json("list", "job", "-p", "prices")[0]
    assert (newest["state"], newest["egress"]["rows"]) == ("SUCCESS", {"prices": 2})


def test_a_wrong_password_is_told_and_not_shown(shop: Shop, pachctl: Pachctl, tmp_path: Path) -> None:
    if shop.database.engine.dialect.name != "mysql":
        pytest.skip("asks for no password")
    create(pachctl, shop, tmp_path, password="let me through")
    pachctl("run", "cron", "orders")
    assert pachctl.fail("flush", "commit", "orders_tick@master") == "commit-failed"
    said = pachctl("logs", "--pipeline", "orders").out
    assert "[sql-denied]" in said
    assert "let me through" not in said
