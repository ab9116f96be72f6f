"""The names of commit sets as partitions: time and id of the set. Dagster sorts the runs of a backfill by them, so it runs the oldest first."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import Commit

_AT_ONCE = 500


def set_of_partition(key: str) -> str:
    """The id of the set that a partition is; of a key that somebody else made, all of it."""
    return key.rpartition("_")[2]


def partition_keys(txn: Transaction, set_ids: Collection[str]) -> Mapping[str, str]:
    """The partition of each set that has jobs, `2026-11-29T19:12:00.123456_<id>`, from the time of the first of these."""
    chosen = list(set_ids)
    found: dict[str, str] = {}
    for at in range(0, len(chosen), _AT_ONCE):
        made = sa.select(t.job.c.set_id, sa.func.min(t.job.c.created).label("created")).where(t.job.c.set_id.in_(chosen[at : at + _AT_ONCE]))
        found |= {row.set_id: f"{row.created:%Y-%m-%dT%H:%M:%S.%f}_{row.set_id}" for row in txn.all(made.group_by(t.job.c.set_id))}
    return found


def partition_of(txn: Transaction, commit: Commit) -> str:
    """The partition that a commit of a pipeline's output belongs to: that of its set, or of the set which its set repeats."""
    set_id = commit.metadata.get(labels.PARTITION, commit.id)
    return partition_keys(txn, [set_id]).get(set_id, set_id)
