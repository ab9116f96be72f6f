"""Commit sets as partitions of pipelines' assets: their names, which there are, and which one a commit belongs to (docs/design/0021)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit, RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.job_sets import list_newest, set_times

MOST_PARTITIONS = 10_000
"""Sets that are partitions, the newest: Dagster's pages stay quick with so many."""
_LATE = 1000
"""Rows of jobs that are looked at again: two transactions may become visible in the other order."""


def set_of_partition(key: str) -> str:
    """The id of the set that a partition is; of a key that somebody else made, all of it."""
    return key.rpartition("_")[2]


def partition_keys(txn: Transaction, set_ids: Collection[str]) -> Mapping[str, str]:
    """The partition of each set that has jobs, `2026-11-29T19:12:00.123456_<id>`, from the time of the first of these.

    Dagster sorts the runs of a backfill by them, so it runs the oldest first.
    """
    return {set_id: f"{time:%Y-%m-%dT%H:%M:%S.%f}_{set_id}" for set_id, time in set_times(txn, set_ids).items()}


def partition_of(txn: Transaction, commit: Commit) -> str:
    """The partition that a commit of a pipeline's output belongs to: that of its set, or of the set which its set repeats."""
    set_id = commit.metadata.get(labels.REPEATED_SET, commit.id)
    return partition_keys(txn, [set_id]).get(set_id, set_id)


def partition_of_run(txn: Transaction, pipeline: RepoName, last_set: str) -> str:
    """The partition of a run: that of its last set. The step's own materialization is of that set; those before it are logged, each with its partition."""
    return partition_of(txn, commits.get_commit(txn, jobs.get_job(txn, pipeline, last_set).output_commit))


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """What the partitions of commit sets lack.

    Args:
        looked: the row of the newest job that was looked at.
    """

    add: tuple[str, ...]
    delete: tuple[str, ...]
    looked: int

    def requests(self) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
        """For the result of a sensor's tick."""
        definition = dg.DynamicPartitionsDefinition(name=labels.COMMIT_SETS)
        found: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
        found += [definition.build_add_request(list(self.add))] if self.add else []
        found += [definition.build_delete_request(list(self.delete))] if self.delete else []
        return found


def change_partitions(txn: Transaction, instance: dg.DagsterInstance, project: str, looked: int) -> PartitionChange:
    """Which sets with jobs in a project are not partitions yet, oldest first, and which partitions are too old to stay."""
    newest = list_newest(txn, project, after=looked - _LATE, number=MOST_PARTITIONS)
    there = instance.get_dynamic_partitions(labels.COMMIT_SETS)
    known = {set_of_partition(key) for key in there}
    new = dict.fromkeys(job.set_id for job in reversed(newest) if labels.REPEATED_SET not in job.metadata and job.set_id not in known)
    found = sorted(partition_keys(txn, new).values())
    too_many = max(0, len(there) + len(found) - MOST_PARTITIONS)
    return PartitionChange(tuple(found), tuple(there[:too_many]), max((job.key for job in newest), default=looked))
