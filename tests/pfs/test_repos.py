"""Repos as lists show them."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.metadata.database import Database, Transaction, open_engine
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.model import BranchName, RepoName


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock())
    yield opened
    opened.close()


def repo(number: int) -> RepoName:
    return RepoName("default", f"repo{number}")


def make(database: Database, count: int) -> None:
    """Repos with two commits on master: a readable one of as many bytes as the repo's number, and above it one with an error, or an open one."""

    def change(txn: Transaction) -> None:
        for number in range(count):
            repos.create_repo(txn, repo(number))
            first = commits.start_commit(txn, BranchName(repo(number), "master"))
            commits.close_commit(txn, first, tree=b"", size_bytes=number)

    def go_on(txn: Transaction) -> None:
        for number in range(count):
            second = commits.start_commit(txn, BranchName(repo(number), "master"))
            if number % 2:
                commits.close_commit(txn, second, tree=b"", size_bytes=1000, error="no")

    database.write(change)
    database.write(go_on)


def count_statements(database: Database) -> int:
    """How many statements a list of all repos takes."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as txn:
        repos.list_repo(txn)
    sa.event.remove(database.engine, "before_cursor_execute", note)
    return len(statements)


def test_size_is_that_of_the_newest_readable_commit_of_each_master(database: Database) -> None:
    make(database, 4)
    with database.read() as txn:
        assert [(found.name.name, found.size_bytes) for found in repos.list_repo(txn)] == [("repo0", 0), ("repo1", 1), ("repo2", 2), ("repo3", 3)]
        assert repos.inspect_repo(txn, repo(3)).size_bytes == 3


def test_list_of_many_repos_takes_as_many_statements_as_one_of_few(database: Database) -> None:
    make(database, 1)
    few = count_statements(database)
    database.write(lambda txn: [repos.create_repo(txn, RepoName("default", f"more{number}")) for number in range(20)])
    assert count_statements(database) == few
