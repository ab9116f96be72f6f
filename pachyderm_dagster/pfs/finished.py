"""The commits of a project, or of a branch, in the order in which they finished."""

import datetime as dt

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoType


def list_finished_after(txn: Transaction, project: str, time: dt.datetime, key: int, *, number: int) -> list[Commit]:
    """Readable commits of user repos behind the one of row `key`, which finished at `time`, at most so many; of those that share a time the lower row first."""
    chosen = (
        sa.select(t.commit.c.id)
        .join_from(t.commit, t.repo)
        .join(t.project)
        .where(
            t.project.c.name == project,
            t.repo.c.type == RepoType.USER,
            t.commit.c.error.is_(None),
            sa.or_(t.commit.c.finished > time, sa.and_(t.commit.c.finished == time, t.commit.c.id > key)),
        )
        .order_by(t.commit.c.finished, t.commit.c.id)
        .limit(number)
    )
    return sorted(commits.list_rows(txn, chosen), key=lambda commit: (commit.finished, commit.key))


def list_finished_since(txn: Transaction, branch: BranchName, time: dt.datetime, *, number: int | None) -> list[Commit]:
    """Readable commits of a branch that finished at `time` or later, at most so many (all for None); of those that share a time the lower row first."""
    chosen = (
        sa.select(t.commit.c.id)
        .join_from(t.commit, t.repo)
        .join(t.project)
        .where(
            t.project.c.name == branch.repo.project,
            t.repo.c.name == branch.repo.name,
            t.repo.c.type == branch.repo.type,
            t.commit.c.branch_name == branch.name,
            t.commit.c.error.is_(None),
            t.commit.c.finished >= time,
        )
        .order_by(t.commit.c.finished, t.commit.c.id)
        .limit(number)
    )
    return sorted(commits.list_rows(txn, chosen), key=lambda commit: (commit.finished, commit.key))
