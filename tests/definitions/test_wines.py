"""The wines example from table to table: on SQLite, and on PostgreSQL with an account for each of the two who may come near it."""

import csv
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from definitions.wines.database.laboratory import write
from definitions.wines.export import export
from tests.cli.pachctl import Pachctl
from tests.docs.markdown import ROOT
from tests.records import SERVER
from tests.sql.databases import TestDatabase, new_database

FOLDER = ROOT / "definitions" / "wines"
WORDS = {"importer": "let me read", "exporter": "let me write"}
"""The passwords."""
ON_SERVER = pytest.param("postgresql", marks=pytest.mark.skipif(SERVER is None, reason="needs PostgreSQL"))


@dataclass(frozen=True, slots=True)
class Winery:
    """A database with 150 wines that were tasted and 18 that were not, and its URL for each account."""

    database: TestDatabase
    urls: dict[str, str]

    def predictions(self) -> dict[int, str]:
        return {wine: kind for wine, kind, _ in self.database.rows("SELECT wine, kind, probability FROM predictions")}


def checks_passwords(database: TestDatabase) -> bool:
    """Whether the server asks the members of the role `passwords` for theirs, as that of tests/services/run does."""
    return bool(database.rows("SELECT 1 FROM pg_hba_file_rules WHERE '+passwords' = ANY (user_name) AND auth_method = 'scram-sha-256'"))


@contextmanager
def accounts(database: TestDatabase) -> Iterator[dict[str, str]]:
    """What roles.sql makes, under other names: roles belong to the whole server, which others use."""
    names = {name: f"{name}_{secrets.token_hex(4)}" for name in WORDS}
    schema = database.rows("SELECT current_schema()")[0][0]
    text = "\n".join(line for line in (FOLDER / "database" / "roles.sql").read_text().splitlines() if not line.startswith("--"))
    for name, unique in names.items():
        text = text.replace(name, unique)
    database.run(*filter(str.strip, text.split(";")))
    for name, unique in names.items():
        database.run(f"GRANT USAGE ON SCHEMA {schema} TO {unique}", f"ALTER ROLE {unique} PASSWORD '{WORDS[name]}'")
    if checks_passwords(database):
        if not database.rows("SELECT 1 FROM pg_roles WHERE rolname = 'passwords'"):
            database.run("CREATE ROLE passwords")
        database.run(*(f"GRANT passwords TO {unique}" for unique in names.values()))
    try:
        yield {name: sa.make_url(database.url).set(username=unique).render_as_string() for name, unique in names.items()}
    finally:
        for unique in names.values():
            database.run(f"DROP OWNED BY {unique}", f"DROP ROLE {unique}")


@pytest.fixture(params=["sqlite", ON_SERVER])
def winery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Winery]:
    with new_database(request.param, tmp_path) as database:
        write(database.engine, 1, 150, tasted=True)
        write(database.engine, 151, 168, tasted=False)
        if request.param == "sqlite":
            yield Winery(database, dict.fromkeys(WORDS, database.url))
            return
        with accounts(database) as urls:
            yield Winery(database, urls)


def add_pipelines(pachctl: Pachctl, winery: Winery, folder: Path, words: dict[str, str]) -> None:
    """Each of the two adds what is theirs, with what has to be adapted to this machine."""
    adaptations = {
        "postgresql://importer@db.example.com/winery": winery.urls["importer"],
        "postgresql://exporter@db.example.com/winery": winery.urls["exporter"],
        "/usr/local/bin/python": sys.executable,
        "/code": str(FOLDER / "model"),
    }
    for name, password in words.items():
        secret = folder / f"{name}.json"
        secret.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": password}}))
        pachctl("create", "secret", "-f", str(secret))
    database, model = ((FOLDER / part / "pipelines.yaml").read_text() for part in ("database", "model"))
    for then, here in adaptations.items():
        database, model = database.replace(then, here), model.replace(then, here)
    importing, publishing = database.split("\n---\n")
    for text in (importing, model, publishing):
        pachctl("create", "pipeline", stdin=text.encode())


def tick(pachctl: Pachctl) -> None:
    pachctl("run", "cron", "analyses")
    pachctl("flush", "commit", "analyses_tick@master")


def test_tastings_come_out_of_one_table_and_predictions_into_another(winery: Winery, pachctl: Pachctl, tmp_path: Path) -> None:
    add_pipelines(pachctl, winery, tmp_path, WORDS)
    tick(pachctl)
    with (FOLDER / "data" / "wines.csv").open(newline="") as file:
        kinds = {int(wine["id"]): wine["kind"] for wine in csv.DictReader(file)}
    predicted = winery.predictions()
    assert predicted.keys() == set(range(151, 169))
    assert sum(kinds[wine] == kind for wine, kind in predicted.items()) >= 16

    write(winery.database.engine, 169, 178, tasted=False)
    tick(pachctl)
    assert winery.predictions().keys() == set(range(151, 179))
    newest = {job["pipeline"]: job for job in reversed(pachctl.json("list", "job"))}
    assert (newest["classifier"]["data_processed"], newest["classifier"]["data_skipped"]) == (0, 1), "the same tastings teach nothing new"
    assert newest["scores"]["data_processed"] == 1

    winery.database.run("UPDATE wines SET kind = 'Barolo' WHERE id = 151")
    tick(pachctl)
    assert 151 not in winery.predictions()
    assert pachctl.json("list", "job", "-p", "classifier")[0]["data_processed"] == 1


@pytest.mark.parametrize("winery", [ON_SERVER], indirect=True)
def test_account_of_the_import_cannot_write(winery: Winery, pachctl: Pachctl, tmp_path: Path) -> None:
    add_pipelines(pachctl, Winery(winery.database, {**winery.urls, "exporter": winery.urls["importer"]}), tmp_path, {**WORDS, "exporter": WORDS["importer"]})
    tick(pachctl)
    job = pachctl.json("list", "job", "-p", "publish")[0]
    assert job["state"] == "EGRESS_FAILURE"
    assert "sql-denied" in job["reason"]
    assert winery.predictions() == {}


@pytest.mark.parametrize("winery", [ON_SERVER], indirect=True)
def test_wrong_password_is_told_and_nothing_is_replaced(winery: Winery, pachctl: Pachctl, tmp_path: Path) -> None:
    if not checks_passwords(winery.database):
        pytest.skip("the server does not ask for passwords")
    add_pipelines(pachctl, winery, tmp_path, {**WORDS, "exporter": "let me in"})
    tick(pachctl)
    job = pachctl.json("list", "job", "-p", "publish")[0]
    assert job["state"] == "EGRESS_FAILURE"
    assert "sql-denied" in job["reason"]
    assert "let me in" not in job["reason"]
    assert winery.predictions() == {}


def test_data_are_those_of_scikit_learn(tmp_path: Path) -> None:
    export(tmp_path)
    assert (tmp_path / "wines.csv").read_text() == (FOLDER / "data" / "wines.csv").read_text()
