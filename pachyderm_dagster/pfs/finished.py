"""The commits of a project in the order in which they finished."""

import datetime as dt

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit, RepoType


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
