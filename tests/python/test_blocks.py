"""What a block of changes does behind its end, and in a forked child."""

from collections.abc import Callable
from typing import Any

import pytest

from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.client.transactions import ClientTransaction
from pachyderm_dagster.errors import StateError
from tests.forking import in_child


def test_child_cannot_close_its_parents_file(client: Client) -> None:
    file = client.open_file("images@master:/a", "wb")
    file.write(b"parent ")
    assert in_child(lambda: file.write(b"child")) == "writer-forked"
    assert in_child(file.close) == "writer-forked"
    assert in_child(lambda: file.__exit__(KeyError, KeyError(), None)) == "done"
    file.write(b"end")
    file.close()
    assert client.get_file("images@master:/a") == b"parent end"
    assert len(client.list_commit("images")) == 1


@pytest.mark.parametrize("opening", [Client.modify_file, Client.commit])
def test_child_that_leaves_a_block_changes_nothing(client: Client, opening: Callable[..., Any]) -> None:
    block = opening(client, "images@master")
    changes = block.__enter__()
    changes.put_file("/a", b"parent")
    assert in_child(lambda: changes.put_file("/b", b"child")) == "writer-forked"
    assert in_child(lambda: changes.delete_file("/a")) == "writer-forked"
    assert in_child(lambda: changes.open_file("/b")) == "writer-forked"
    assert in_child(lambda: block.__exit__(None, None, None)) == "writer-forked"
    assert in_child(lambda: block.__exit__(KeyError, KeyError(), None)) == "done"
    block.__exit__(None, None, None)
    assert [file.path for file in client.list_file(f"images@{changes.id}:/")] == ["/a"]


def test_child_that_leaves_a_transaction_changes_nothing(client: Client) -> None:
    block = client.transaction()
    transaction = block.__enter__()
    transaction.create_repo("labels")
    assert in_child(lambda: transaction.create_repo("child")) == "writer-forked"
    assert in_child(lambda: block.__exit__(None, None, None)) == "writer-forked"
    block.__exit__(None, None, None)
    assert [repo.name.name for repo in client.list_repo()] == ["images", "labels"]


def test_child_that_leaves_a_commit_of_a_file_system_changes_nothing(fs: PfsFileSystem) -> None:
    block = fs.commit("images@master")
    block.__enter__()
    fs.pipe("images@master/a", b"parent")
    assert in_child(lambda: fs.pipe("images@master/a", b"child")) == "writer-forked"
    assert in_child(lambda: block.__exit__(KeyError, KeyError(), None)) == "done"
    block.__exit__(None, None, None)
    assert fs.cat("images@master/a") == b"parent"


CHANGES: list[Callable[[FileChanges], object]] = [
    lambda changes: changes.put_file("/late", b"x"),
    lambda changes: changes.delete_file("/a"),
    lambda changes: changes.delete_file("/", recursive=True),
    lambda changes: changes.copy_file("images@master:/a", "/late"),
    lambda changes: changes.open_file("/late"),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("opening", [Client.modify_file, Client.commit])
def test_ended_block_takes_no_changes(client: Client, opening: Callable[..., Any], change: Callable[[FileChanges], object]) -> None:
    with opening(client, "images@master") as changes:
        changes.put_file("/a", b"1")
    with pytest.raises(StateError) as caught:
        change(changes)
    assert caught.value.code == "block-ended"


def test_file_of_a_block_that_raised_cannot_be_closed(client: Client) -> None:
    with pytest.raises(KeyError), client.modify_file("images@master") as changes:
        file = changes.open_file("/a")
        file.write(b"1")
        raise KeyError
    with pytest.raises(StateError) as caught:
        file.close()
    assert caught.value.code == "block-ended"


LATE: list[Callable[[ClientTransaction], object]] = [
    lambda transaction: transaction.create_repo("late"),
    lambda transaction: transaction.delete_repo("images"),
    lambda transaction: transaction.create_branch("images@late"),
    lambda transaction: transaction.delete_branch("images@master"),
    lambda transaction: transaction.start_commit("images@master"),
    lambda transaction: transaction.finish_commit("images@master"),
]


@pytest.mark.parametrize("change", LATE)
def test_ended_transaction_takes_no_changes(client: Client, change: Callable[[ClientTransaction], object]) -> None:
    with client.transaction() as transaction:
        transaction.create_repo("labels")
    with pytest.raises(StateError) as caught:
        change(transaction)
    assert caught.value.code == "block-ended"
    assert len(transaction.made) == 1


def test_transaction_that_raised_takes_no_changes(client: Client) -> None:
    with pytest.raises(KeyError), client.transaction() as transaction:
        raise KeyError
    with pytest.raises(StateError) as caught:
        transaction.create_repo("late")
    assert caught.value.code == "block-ended"
