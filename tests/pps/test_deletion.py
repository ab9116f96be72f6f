"""Deleting several pipelines at once, in an order that works."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.deletion import delete_pipelines, empty_project
from pachyderm_dagster.pps.spec_reading import parse_specs


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    """`images`, and pipelines that read it one after the other: c, a, b."""
    opened = Database(open_engine(metadata_url), ManualClock(), [propagate])
    opened.write(lambda txn: repos.create_repo(txn, name("images")))
    for reader, read in (("c", "images"), ("a", "c"), ("b", "a")):
        add(opened, reader, read)
    yield opened
    opened.close()


def name(text: str) -> RepoName:
    return RepoName("default", text)


def add(database: Database, pipeline: str, repo: str = "", *, branch: str = "master", input: Any = None) -> None:
    """Makes a pipeline, or its next version."""
    read = input or {"pfs": {"repo": repo, "branch": branch, "glob": "/"}}
    document = {"pipeline": {"name": pipeline}, "input": read, "transform": {"cmd": ["true"]}}
    (spec,) = parse_specs(msgspec.json.encode(document).decode(), source="test")
    database.write(lambda txn: pipelines.create_pipeline(txn, spec, spec_tree=(b"", 0), update=True))


def left(database: Database) -> list[str]:
    """The repos that are left, of every type."""
    with database.read() as txn:
        return sorted(str(repo.name) for repo in repos.list_repo(txn, type=None))


def test_pipelines_that_read_each_other_are_deleted_in_any_order(database: Database) -> None:
    database.write(lambda txn: delete_pipelines(txn, [name("a"), name("b"), name("c")]))
    assert left(database) == ["images"]


def test_pipelines_that_another_reads_are_not_deleted(database: Database) -> None:
    with pytest.raises(StateError, match="pipeline 'a' feeds 'b'"):
        database.write(lambda txn: delete_pipelines(txn, [name("a"), name("c")]))
    assert "c.meta" in left(database)


def test_pipeline_that_a_branch_reads_is_not_deleted(database: Database) -> None:
    database.write(lambda txn: repos.create_repo(txn, name("copies")))
    database.write(lambda txn: branches.create_branch(txn, parse_reference("copies@master").branch(), provenance=[parse_reference("b@master").branch()]))
    with pytest.raises(StateError, match="pipeline 'b' feeds 'copies'"):
        database.write(lambda txn: delete_pipelines(txn, [name("a"), name("b"), name("c")]))


def test_stopped_pipeline_that_would_close_a_loop_is_no_obstacle(database: Database) -> None:
    database.write(lambda txn: branches.create_branch(txn, parse_reference("b@side").branch()))
    add(database, "d", "b", branch="side")
    with pytest.raises(InvalidError, match="'b@side', another branch of its own repo"):
        add(database, "b", "d")
    database.write(lambda txn: pipelines.stop_pipeline(txn, name("d")))
    add(database, "b", "d")
    database.write(lambda txn: delete_pipelines(txn, [name("b"), name("c"), name("d")], force=True))
    assert "a" in left(database)
    assert not {"b", "d"} & set(left(database))


def test_reader_of_the_ticks_of_a_pipeline_is_deleted_before_it(database: Database) -> None:
    add(database, "a", input={"cross": [{"pfs": {"repo": "images", "glob": "/"}}, {"cron": {"name": "clock", "spec": "@never"}}]})
    add(database, "late", "a_clock")
    database.write(lambda txn: delete_pipelines(txn, [name("a"), name("b"), name("late")]))
    assert left(database) == ["c", "c.meta", "c.spec", "images"]


def test_output_repos_are_kept_when_told(database: Database) -> None:
    database.write(lambda txn: delete_pipelines(txn, [name("a"), name("b"), name("c")], keep_repo=True))
    assert left(database) == ["a", "b", "c", "images"]


def test_emptied_project_holds_nothing_and_others_stay(database: Database) -> None:
    database.write(lambda txn: repos.create_project(txn, "vision"))
    database.write(lambda txn: repos.create_repo(txn, RepoName("vision", "photos")))
    database.write(lambda txn: repos.create_repo(txn, RepoName("default", "odd", RepoType.META)))
    database.write(lambda txn: empty_project(txn, "default"))
    assert left(database) == ["vision/photos"]
