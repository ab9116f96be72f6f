"""Commit sets as the jobs in them tell of them: when they were made, and which are new."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class JobInSet:
    """A job as far as its set is concerned: its row, and what is noted on its output."""

    key: int
    set_id: str
    metadata: Mapping[str, str]


def set_times(txn: Transaction, set_ids: Collection[str]) -> dict[str, dt.datetime]:
    """When the first job of each set was made; nothing of sets without jobs."""
    chosen = list(set_ids)
    found: dict[str, dt.datetime] = {}
    for at in range(0, len(chosen), _AT_ONCE):
        made = sa.select(t.job.c.set_id, sa.func.min(t.job.c.created).label("created")).where(t.job.c.set_id.in_(chosen[at : at + _AT_ONCE]))
        found |= {row.set_id: row.created for row in txn.all(made.group_by(t.job.c.set_id))}
    return found


def list_newest(txn: Transaction, project: str, *, after: int, number: int) -> list[JobInSet]:
    """Jobs of a project whose rows are higher than `after`, newest first, at most so many."""
    rows = txn.all(
        sa.select(t.job.c.id, t.job.c.set_id, t.commit.c.metadata)
        .join_from(t.job, t.pipeline)
        .join(t.project)
        .join(t.commit, t.job.c.output_commit_id == t.commit.c.id)
        .where(t.project.c.name == project, t.job.c.id > after)
        .order_by(t.job.c.id.desc())
        .limit(number)
    )
    return [JobInSet(row.id, row.set_id, row.metadata) for row in rows]
