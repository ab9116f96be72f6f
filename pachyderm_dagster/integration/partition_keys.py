"""The names of commit sets as partitions: time and id of the set. Dagster sorts the runs of a backfill by them, so it runs the oldest first."""

from collections.abc import Collection, Mapping

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pps.job_sets import set_times


def set_of_partition(key: str) -> str:
    """The id of the set that a partition is; of a key that somebody else made, all of it."""
    return key.rpartition("_")[2]


def partition_keys(txn: Transaction, set_ids: Collection[str]) -> Mapping[str, str]:
    """The partition of each set that has jobs, `2026-11-29T19:12:00.123456_<id>`, from the time of the first of these."""
    return {set_id: f"{time:%Y-%m-%dT%H:%M:%S.%f}_{set_id}" for set_id, time in set_times(txn, set_ids).items()}


def partition_of(txn: Transaction, commit: Commit) -> str:
    """The partition that a commit of a pipeline's output belongs to: that of its set, or of the set which its set repeats."""
    set_id = commit.metadata.get(labels.PARTITION, commit.id)
    return partition_keys(txn, [set_id]).get(set_id, set_id)
