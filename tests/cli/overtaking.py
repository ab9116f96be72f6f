"""Another writer who comes at the worst moment."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.references import parse_reference

Write = Callable[[Database, Callable[[Transaction], Any]], Any]


@contextlib.contextmanager
def overtaken(branch: str) -> Iterator[list[Commit]]:
    """After each write that gave a commit, somebody else commits an empty version of the branch; the commits that the writes gave."""
    write: Write = Database.write
    given: list[Commit] = []

    def other(txn: Transaction) -> None:
        commits.close_commit(txn, commits.start_commit(txn, parse_reference(branch).branch()), tree=None, size_bytes=0)

    def write_and_be_overtaken(database: Database, change: Callable[[Transaction], Any]) -> Any:
        done = write(database, change)
        if isinstance(done, Commit):
            given.append(done)
            write(database, other)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "write", write_and_be_overtaken)
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
