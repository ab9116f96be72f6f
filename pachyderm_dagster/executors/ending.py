"""The end of a job: what it and its commits will be is stored first, then the record says so."""

import datetime as dt
from dataclasses import dataclass

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.commit_records import add_record
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, EgressResult, Job, JobState
from pachyderm_dagster.pps.recovery import job_records
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.trees import TreeRoot
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ends. A failed one has no output; its datums are kept when they were run."""

    state: JobState
    reason: str
    output: TreeRoot | None = None
    meta: TreeRoot | None = None
    delivered: EgressResult | None = None


def end_job(workspace: Workspace, job: Job, outcome: Outcome, counters: Counters, *, since: dt.datetime) -> None:
    """Ends a job and closes its commits.

    Args:
        since: from when on this job, or an attempt before, stored what it refers to.

    Raises:
        StateError: `job-finished`, when somebody ended it first.
    """
    records = _store_records(workspace, job, outcome, counters)

    def change(txn: Transaction) -> None:
        check_not_collected(txn, since)
        jobs.finish(txn, job, outcome.state, reason=outcome.reason, counters=counters, delivered=outcome.delivered, records=records)

    workspace.database.write(change)


def _store_records(workspace: Workspace, job: Job, outcome: Outcome, counters: Counters) -> jobs.JobRecords:
    """Stores what the job and its commits will be, before they are, so that none that ended can be lost with the record."""
    finished = workspace.database.clock.now()
    packs = PackWriter(workspace.store)
    with workspace.database.read() as txn:
        records = job_records(
            txn,
            jobs.refresh(txn, job),
            outcome.state,
            reason=outcome.reason,
            finished=finished,
            counters=counters,
            output=_content(outcome.output),
            meta=_content(outcome.meta),
            delivered=outcome.delivered,
        )
    add_record(packs, records.output)
    add_record(packs, records.meta)
    packs.flush()
    return records


def _content(root: TreeRoot | None) -> tuple[bytes, int] | None:
    return None if root is None else (root.encode(), root.size_bytes)
