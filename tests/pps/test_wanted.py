"""Which pipelines have a process that stays, and what these are to serve."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.pps.wanted import list_wanted

IMAGES, SITE = RepoName("default", "images"), RepoName("default", "site")
READING: Mapping[str, Any] = {"input": {"pfs": {"repo": "images", "project": "default", "glob": "/"}}}
SERVING: Mapping[str, Any] = {**READING, "service": {"internal_port": 8080}}


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock(), [propagate, jobs.create_jobs])
    opened.write(lambda txn: repos.create_repo(txn, IMAGES))
    yield opened
    opened.close()


def add(database: Database, name: RepoName, fields: Mapping[str, Any], *, update: bool = False) -> None:
    document = {"pipeline": {"name": name.name, "project": name.project}, "transform": {"cmd": ["echo", '{"service":{},"spout":{}}']}, **fields}
    (spec,) = parse_specs(msgspec.json.encode(document).decode(), source="test")
    database.write(lambda txn: pipelines.create_pipeline(txn, spec, spec_tree=(b"", 0), update=update))


def commit(database: Database, *, error: str | None = None, is_open: bool = False) -> str:
    """Makes a commit of `images`; its id."""
    made = database.write(lambda txn: (commits.start_commit(txn, BranchName(IMAGES, "master")), txn.id))
    if not is_open:
        database.write(lambda txn: commits.close_commit(txn, made[0], tree=None if error else b"", size_bytes=0, error=error))
    return made[1]


def test_transformations_services_and_spouts_of_one_name_are_told_apart(database: Database) -> None:
    names = [RepoName(project, "same") for project in ("default", "q", "r", "s")]
    fields: list[Mapping[str, Any]] = [READING, SERVING, {"spout": {}}, {"spout": {"service": {"internal_port": 8081}}}]
    for name in names[1:]:
        database.write(partial(repos.create_project, name=name.project))
    for name, more in zip(names, fields, strict=True):
        add(database, name, more)
    with database.read() as txn:
        assert jobs.find_services(txn, names) == {names[1]}
        assert jobs.find_services(txn, names[:1]) == set()
        assert [(one.pipeline.name, one.has_process) for one in list_wanted(txn)] == [(names[1], True), (names[2], True), (names[3], True)]


def test_newest_job_whose_inputs_are_good_is_to_be_served(database: Database) -> None:
    add(database, SITE, SERVING)
    good = [commit(database) for _ in range(2)]
    bad = commit(database, error="no good")
    commit(database, is_open=True)
    with database.read() as txn:
        (wanted,) = list_wanted(txn)
    assert wanted.job is not None
    assert wanted.job.id == good[1]
    assert [job.id for job in wanted.earlier][1:] == good[:1]
    assert [job.id for job in wanted.unrunnable] == [bad]


def test_a_look_costs_the_same_whatever_the_number_of_jobs(database: Database) -> None:
    statements: list[str] = []
    costs = []
    add(database, SITE, SERVING)
    sa.event.listen(database.engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: statements.append(statement))
    for _ in range(4):
        commit(database)
        statements.clear()
        with database.read() as txn:
            list_wanted(txn)
        costs.append(len(statements))
    assert costs == costs[:1] * 4


def test_service_is_ended_by_who_ends_its_job_and_not_by_an_update(database: Database) -> None:
    add(database, SITE, SERVING)
    commit(database)
    database.write(lambda txn: jobs.stop_all(txn, SITE, reason="by a person"))
    assert is_ended(database)
    commit(database, is_open=True)
    assert not is_ended(database)
    add(database, SITE, SERVING, update=True)
    assert not is_ended(database)
    database.write(lambda txn: jobs.stop_all(txn, SITE, reason="by a person"))
    assert is_ended(database)


def is_ended(database: Database) -> bool:
    with database.read() as txn:
        (found,) = list_wanted(txn)
    return found.is_ended
