from collections.abc import Iterator

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.subscription import Position, take

REPO = RepoName("default", "images")


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock(), [])
    opened.write(lambda txn: repos.create_repo(txn, REPO))
    yield opened
    opened.close()


def start(database: Database, branch: str) -> int:
    """Opens a commit; its row."""
    return database.write(lambda txn: commits.start_commit(txn, parse_reference(f"images@{branch}").branch()))


def finish(database: Database, key: int) -> None:
    """Closes a commit."""
    database.write(lambda txn: commits.close_commit(txn, key, tree=None, size_bytes=0))


def taken(database: Database, position: Position, reference: str = "images") -> tuple[list[int], Position]:
    """The rows of what is new."""
    with database.read() as txn:
        found, position = take(txn, parse_reference(reference), position)
    return [commit.key for commit in found], position


def test_finished_commits_come_once_and_the_oldest_first(database: Database) -> None:
    keys = []
    for _ in range(3):
        keys.append(start(database, "master"))
        finish(database, keys[-1])
    found, position = taken(database, Position())
    assert found == keys
    assert position == Position(keys[-1])
    assert taken(database, position) == ([], position)


def test_open_commit_holds_up_its_own_branch_only(database: Database) -> None:
    opened = start(database, "dev")
    other = start(database, "master")
    finish(database, other)
    found, position = taken(database, Position())
    assert found == [other]
    assert taken(database, position)[0] == []
    finish(database, opened)
    assert taken(database, position)[0] == [opened]


def test_position_does_not_grow_with_the_commits_that_were_told(database: Database) -> None:
    opened = start(database, "dev")
    position, last = Position(), 0
    for _ in range(5):
        last = start(database, "master")
        finish(database, last)
        found, position = taken(database, position)
        assert found == [last]
    assert position == Position(opened - 1, {"master": last})
    finish(database, opened)
    assert taken(database, position) == ([opened], Position(last))


def test_commits_of_other_branches_do_not_come_from_a_branch(database: Database) -> None:
    master, dev = start(database, "master"), start(database, "dev")
    finish(database, master)
    finish(database, dev)
    assert taken(database, Position(), "images@dev") == ([dev], Position(dev))


def test_deleted_repo_is_not_followed(database: Database) -> None:
    database.write(lambda txn: repos.delete_repo(txn, REPO))
    with pytest.raises(NotFoundError, match="repo-not-found"):
        taken(database, Position())
