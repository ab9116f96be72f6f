"""Commit sets as partitions of pipelines' assets: which there are, and which one a commit belongs to (docs/design/0021)."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration.launches import Launch
from pachyderm_dagster.integration.partition_keys import partition_keys, set_of_partition
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Origin, RepoName, RepoType
from pachyderm_dagster.pfs.object_metadata import MetadataEdit, ObjectKind, Operation, edit_metadata
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.job_sets import list_newest
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.pins import pins_of_jobs, run_pipelines

MOST_PARTITIONS = 10_000
"""Sets that are partitions, the newest: Dagster's pages stay quick with so many."""
_LATE = 1000
"""Rows of jobs that are looked at again: two transactions may become visible in the other order."""


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
    new = dict.fromkeys(job.set_id for job in reversed(newest) if labels.PARTITION not in job.metadata and job.set_id not in known)
    found = sorted(partition_keys(txn, new).values())
    too_many = max(0, len(there) + len(found) - MOST_PARTITIONS)
    return PartitionChange(tuple(found), tuple(there[:too_many]), max((job.key for job in newest), default=looked))


def repeat_set(txn: Transaction, set_id: str, chosen: Sequence[RepoName], launch: Launch) -> list[Job]:
    """Runs pipelines again on what their jobs of a commit set read, in this transaction's set; or gives the jobs that are still to be done in it.

    Of pipelines without a job in it nothing is done.

    Raises:
        NotFoundError: `commit-set-not-found`.
        InvalidError: `pin-invalid`, when the run pins inputs too; and as `run_pipelines`.
    """
    members = [job for job in jobs.list_job(txn, set_id=set_id) if job.pipeline in chosen]
    if not jobs.list_job(txn, set_id=set_id):
        raise NotFoundError("commit-set-not-found", f"partition '{set_id}' is no commit set with jobs; choose one of those that the sensor added")
    if launch.pins:
        raise InvalidError("pin-invalid", f"partition '{set_id}' says which commits are read, and the run pins '{launch.pins[0]}' too; leave one of them out")
    undone = [job for job in members if not job.state.is_terminal]
    if not undone and members:
        run_pipelines(txn, [job.pipeline for job in members], pins=pins_of_jobs(txn, members), reprocess=launch.reprocess)
    return undone


def mark_repeated(txn: Transaction, set_id: str, repeated: str) -> None:
    """Notes on the outputs of a set which set it repeats. Without that, as when a process dies before it, the set is a partition of its own."""
    made = [commit for commit in commits.list_commit(txn, set_id=set_id) if commit.origin is Origin.AUTO and commit.repo.type is RepoType.USER]
    edit_metadata(
        txn,
        [
            MetadataEdit(ObjectKind.COMMIT, f"{commit.repo.project}/{commit.repo.name}@{commit.id}", Operation.ADD, labels.PARTITION, repeated)
            for commit in made
        ],
    )
