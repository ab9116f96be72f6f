"""Commits that a store has records of and the record does not know: what a record that was restored from a backup, or lost rows, forgot."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.counting import last_row
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.model import RepoName, RepoType

Key = tuple[int, str]
"""A commit: the row of its repo and the id of its set."""


@dataclass(frozen=True, slots=True)
class KnownCommits:
    """Which commits a record knows.

    Attributes:
        ids: those that it has, and those that were squashed, dropped or given up.
        repos: the rows of the repos that it has.
        last_repo: the greatest row that a repo ever had: repos up to it that are not there were deleted with their commits.
    """

    ids: frozenset[Key]
    repos: frozenset[int]
    last_repo: int

    def knows(self, record: CommitRecord) -> bool:
        """Whether the commit is there or was removed on purpose. Of one that was never finished nothing can be missed."""
        was_deleted = record.repo_id not in self.repos and record.repo_id <= self.last_repo
        return record.finished is None or was_deleted or (record.repo_id, record.id) in self.ids


def read_known(txn: Transaction) -> KnownCommits:
    """What the record knows now. To be read after the store was listed: a write stores the record of its commit first."""
    there = txn.connection.execute(sa.select(t.commit.c.repo_id, t.commit.c.set_id))
    removed = txn.connection.execute(sa.select(t.removed_commit.c.repo_id, t.removed_commit.c.set_id))
    ids = frozenset((int(row.repo_id), str(row.set_id)) for rows in (there, removed) for row in rows)
    repos = frozenset(int(row.id) for row in txn.all(sa.select(t.repo.c.id)))
    return KnownCommits(ids, repos, last_row(txn.connection, t.repo.name))


def name_of(record: CommitRecord) -> str:
    """The commit's name, for people."""
    return f"{RepoName(record.project, record.repo, RepoType(record.repo_type))}@{record.id}"


def give_up(txn: Transaction, commits: Iterable[Key]) -> None:
    """Has the record know commits as removed, so that their content goes with the next collection."""
    for repo_id, set_id in sorted(_new(txn, set(commits))):
        txn.insert(t.removed_commit, repo_id=repo_id, set_id=set_id, removed=txn.clock.now())


def _new(txn: Transaction, commits: Collection[Key]) -> set[Key]:
    return {*commits} - read_known(txn).ids
