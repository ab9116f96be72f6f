"""Finishing open commits: what they hold is put together and recorded in the store first, then a transaction makes it true."""

import datetime as dt
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.commit_records import CommitRecord, load_record
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.pfs.model import Commit

Staged: TypeAlias = tuple[bytes | None, tuple[bytes, ...]]
"""What an open commit will hold: the encoded root of what is under it, and its layers."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A commit that is to be finished, and its record as far as the database knows it."""

    staged: Staged
    record: CommitRecord

    def as_finished(self, tree: bytes, size_bytes: int, finished: dt.datetime, *, stored_bytes: int) -> CommitRecord:
        """Its record when it holds the tree at an encoded root, for which `stored_bytes` were stored."""
        return msgspec.structs.replace(
            self.record,
            finished=finished,
            written=finished,
            tree=tree,
            size_bytes=size_bytes,
            stored_bytes=self.record.stored_bytes + stored_bytes,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the store holds for finishing a commit.

    Attributes:
        since: when storing it began; as nothing refers to it yet, it may be collected.
    """

    staged: Staged
    record: CommitRecord
    since: dt.datetime


def find_staged(txn: Transaction, commit_id: int) -> Staged:
    """What an open commit will hold."""
    return commits.base_tree(txn, commit_id), tuple(commits.list_layer(txn, commit_id))


def find_unfinished(txn: Transaction, commit_id: int, *, error: str | None, description: str | None) -> Unfinished:
    """A commit that a user wants to finish, with an error, or another description than it began with.

    Raises:
        StateError: `commit-finished`, `output-branch`.
    """
    commits.check_user_may_write(txn, commit_id)
    record = msgspec.structs.replace(load_record(txn, commit_id), error=error)
    return Unfinished(find_staged(txn, commit_id), record if description is None else msgspec.structs.replace(record, description=description))


def finish(txn: Transaction, commit_id: int, prepared: Prepared) -> Commit | None:
    """Finishes a commit with what was prepared for it; None when it holds something else by now, or that may have been collected.

    Raises:
        StateError: `commit-finished`.
    """
    if find_staged(txn, commit_id) != prepared.staged or is_collected(txn, prepared.since):
        return None
    commits.close_recorded(txn, commit_id, prepared.record)
    return commits.get_commit(txn, commit_id)
