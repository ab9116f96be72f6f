"""Another writer who comes at the worst moment."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.group_commit import GroupCommit
from pachyderm_dagster.pfs.group_commit import Write as OneWrite
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.references import Reference, parse_reference

Write = Callable[[Database, Callable[[Transaction], Any]], Any]


@contextlib.contextmanager
def overtaken(branch: str) -> Iterator[list[Commit]]:
    """After each put or delete, somebody else commits an empty version of the branch; the commits that they gave."""
    write = GroupCommit.write
    given: list[Commit] = []

    def other(txn: Transaction) -> None:
        commits.close_commit(txn, commits.start_commit(txn, parse_reference(branch).branch()), tree=None, size_bytes=0)

    def write_and_be_overtaken(group: GroupCommit, target: Reference, change: OneWrite) -> Commit:
        given.append(write(group, target, change))
        group.database.write(other)
        return given[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupCommit, "write", write_and_be_overtaken)
        yield given


@contextlib.contextmanager
def preceded(command: Callable[[], object]) -> Iterator[None]:
    """Just before the first write, somebody else's command runs."""
    write: Write = Database.write

    with pytest.MonkeyPatch.context() as patch:

        def be_preceded_and_write(database: Database, change: Callable[[Transaction], Any]) -> Any:
            patch.setattr(Database, "write", write)
            command()
            return write(database, change)

        patch.setattr(Database, "write", be_preceded_and_write)
        yield
