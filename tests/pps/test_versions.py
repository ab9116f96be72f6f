"""The versions of pipelines, and what it costs to have many."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.spec_reading import parse_specs

EDGES = RepoName("default", "edges")


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock(), [propagate, jobs.create_jobs])
    opened.write(lambda txn: repos.create_repo(txn, RepoName("default", "images")))
    yield opened
    opened.close()


def add(database: Database, name: str, command: str) -> None:
    """Makes a pipeline, or its next version."""
    text = f"{{pipeline: {{name: {name}}}, input: {{pfs: {{repo: images, glob: /}}}}, transform: {{cmd: ['{command}']}}}}"
    (spec,) = parse_specs(text, source="test")
    database.write(lambda txn: pipelines.create_pipeline(txn, spec, spec_tree=(b"", 0), update=True))


def count_statements(database: Database, act: Callable[[], object]) -> int:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    act()
    sa.event.remove(database.engine, "before_cursor_execute", note)
    return len(statements)


def test_versions_are_listed_the_newest_first(database: Database) -> None:
    for command in ("one", "two", "three"):
        add(database, "edges", command)
        add(database, "other", command)
    with database.read() as txn:
        found = pipelines.list_version(txn, EDGES)
        assert [(one.name, one.version, one.spec.transform.cmd) for one in found] == [(EDGES, 3, ("three",)), (EDGES, 2, ("two",)), (EDGES, 1, ("one",))]
        assert [(one.name.name, one.version) for one in pipelines.list_pipeline(txn)] == [("edges", 3), ("other", 3)]


def test_each_pipeline_is_listed_with_the_state_of_its_own_last_job(database: Database) -> None:
    for name in ("edges", "other"):
        add(database, name, "one")
    add(database, "edges", "two")
    with database.read() as txn:
        (job,) = jobs.list_job(txn, pipeline=RepoName("default", "other"))
    database.write(lambda txn: jobs.finish(txn, job, JobState.FAILURE, reason="a test"))
    with database.read() as txn:
        assert [(one.name.name, one.last_job_state) for one in pipelines.list_pipeline(txn)] == [("edges", JobState.CREATED), ("other", JobState.FAILURE)]


def test_an_update_costs_the_same_whatever_the_number_of_versions(database: Database) -> None:
    add(database, "edges", "0")
    costs = [count_statements(database, partial(add, database, "edges", str(number))) for number in range(1, 8)]
    assert costs[1:] == costs[1:2] * 6


def test_a_list_costs_the_same_whatever_the_number_of_pipelines(database: Database) -> None:
    costs = []
    for number in range(3):
        add(database, f"edges-{number}", "true")
        with database.read() as txn:
            costs.append(count_statements(database, partial(pipelines.list_pipeline, txn)))
    assert costs == [1, 1, 1]
