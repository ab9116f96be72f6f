"""What users note on objects."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata.database import Database, Transaction, open_engine
from pachyderm_dagster.pfs import branches, commits, repos
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pfs.object_metadata import ObjectKind, edit_metadata, parse_edit, read_metadata

IMAGES = RepoName("default", "images")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A repo `images` with one commit on master."""
    opened = Database(open_engine(f"sqlite:///{tmp_path}/metadata.db"), ManualClock())

    def change(txn: Transaction) -> None:
        repos.create_repo(txn, IMAGES)
        commits.close_commit(txn, commits.start_commit(txn, BranchName(IMAGES, "master")), tree=None, size_bytes=0)

    opened.write(change)
    yield opened
    opened.close()


def edit(database: Database, *edits: str) -> None:
    """Does edits as they stand on a command line."""
    parsed = [parse_edit(*text.split(maxsplit=3)) for text in edits]
    database.write(lambda txn: edit_metadata(txn, parsed))


def refusal(database: Database, *edits: str) -> str:
    with pytest.raises(PachydermError) as caught:
        edit(database, *edits)
    return caught.value.code


def noted(database: Database, kind: ObjectKind, picker: str) -> dict[str, str]:
    with database.read() as txn:
        return read_metadata(txn, kind, picker)


@pytest.mark.parametrize(
    ("kind", "picker"),
    [("cluster", "."), ("project", "default"), ("repo", "images"), ("branch", "images@master"), ("commit", "images@master")],
)
def test_every_kind_of_object_keeps_a_map(database: Database, kind: str, picker: str) -> None:
    edit(database, f"{kind} {picker} add owner=ann", f"{kind} {picker} add place=lab 2")
    assert noted(database, ObjectKind(kind), picker) == {"owner": "ann", "place": "lab 2"}
    edit(database, f"{kind} {picker} edit owner=bob=x", f"{kind} {picker} delete place")
    assert noted(database, ObjectKind(kind), picker) == {"owner": "bob=x"}
    edit(database, f'{kind} {picker} replace {{"a": "1", "b": ""}}')
    assert noted(database, ObjectKind(kind), picker) == {"a": "1", "b": ""}


def test_key_that_exists_is_not_added(database: Database) -> None:
    edit(database, "repo images add owner=ann")
    assert refusal(database, "repo images add owner=bob") == "metadata-key-exists"


@pytest.mark.parametrize("operation", ["edit owner=bob", "delete owner"])
def test_key_that_is_missing_is_neither_changed_nor_removed(database: Database, operation: str) -> None:
    assert refusal(database, f"repo images {operation}") == "metadata-key-not-found"


def test_edits_of_one_call_are_all_done_or_none(database: Database) -> None:
    assert refusal(database, "repo images add owner=ann", "branch images@master delete owner") == "metadata-key-not-found"
    assert noted(database, ObjectKind.REPO, "images") == {}


def test_object_that_is_missing_is_named(database: Database) -> None:
    assert refusal(database, "branch images@dev add a=b") == "branch-not-found"


@pytest.mark.parametrize(
    "text",
    ["file images add a=b", "repo images append a=b", "repo images add owner", "repo images add =ann", "cluster all add a=b", "repo images replace [1]"],
)
def test_edit_that_does_not_read_is_refused(database: Database, text: str) -> None:
    assert refusal(database, text) == "metadata-invalid"


def test_metadata_is_listed_with_its_object(database: Database) -> None:
    edit(database, "project default add p=1", "repo images add r=2", "branch images@master add b=3", "commit images@master add c=4")
    with database.read() as txn:
        assert repos.inspect_project(txn, "default").metadata == {"p": "1"}
        assert repos.inspect_repo(txn, IMAGES).metadata == {"r": "2"}
        assert branches.inspect_branch(txn, BranchName(IMAGES, "master")).metadata == {"b": "3"}
        assert commits.list_commit(txn, IMAGES)[0].metadata == {"c": "4"}
