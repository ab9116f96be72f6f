"""What the store holds of pipelines and jobs, so that a lost record can be rebuilt: pipelines in the structure, a job in the record of its output commit."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import structure
from pachyderm_dagster.pfs.commit_records import load_records
from pachyderm_dagster.pps import defaults
from pachyderm_dagster.pps.jobs import JobRecords, error_of
from pachyderm_dagster.pps.model import COUNTER_NAMES, TERMINAL, Counters, EgressResult, Job, JobState
from pachyderm_dagster.storage.objects import ObjectStore

SECTION = "pipelines"


class StoredVersion(msgspec.Struct, frozen=True):
    """A version of a pipeline; `set_id` is that of its commit in the spec repo. Older releases kept nothing of what the user wrote."""

    version: int
    spec: str
    salt: str
    set_id: str
    created: dt.datetime
    user_spec: str = ""
    user_text: str = ""


class StoredPipeline(msgspec.Struct, frozen=True):
    """A pipeline; `id` is its row, which the records of its jobs name."""

    id: int
    project_id: int
    name: str
    version: int
    state: str
    reason: str
    created: dt.datetime
    versions: tuple[StoredVersion, ...]


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has ended, in the record of its output commit.

    Args:
        pipeline_id: row of the pipeline.
        results: encoded root of the pipeline's results when this was written.
        counters: by their names.
    """

    pipeline_id: int
    pipeline: str
    version: int
    state: str
    reason: str
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    counters: dict[str, int | float]
    restarts: int
    run_id: str | None
    results: bytes | None
    delivered: EgressResult | None = None


def keep(database: Database, store: ObjectStore) -> None:
    """Stores what the store lacks: the structure, if it changed, and records of finished commits that have none.

    Raises:
        StorageError, UnreachableError: as `ObjectStore.put_new`; the next call tries again.
    """
    structure.save(database, store, {SECTION: take_pipelines, defaults.SECTION: defaults.take_defaults})
    structure.save_commits(database, store, jobs_of)


def take_pipelines(txn: Transaction) -> list[StoredPipeline]:
    """The pipelines with all their versions."""
    versions: dict[int, list[StoredVersion]] = {}
    for row in txn.all(sa.select(t.pipeline_version).order_by(t.pipeline_version.c.pipeline_id, t.pipeline_version.c.version)):
        versions.setdefault(row.pipeline_id, []).append(StoredVersion(row.version, row.spec, row.salt, row.set_id, row.created, row.user_spec, row.user_text))
    return [
        StoredPipeline(row.id, row.project_id, row.name, row.version, row.state, row.reason, row.created, tuple(versions.get(row.id, ())))
        for row in txn.all(sa.select(t.pipeline).order_by(t.pipeline.c.id))
    ]


def jobs_of(txn: Transaction, commit_ids: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """What is kept of the ended jobs that wrote these output commits, by the commit's row."""
    rows = txn.all(
        sa.select(t.job, t.pipeline.c.name, t.pipeline.c.results)
        .join_from(t.job, t.pipeline)
        .where(t.job.c.output_commit_id.in_(commit_ids), t.job.c.state.in_(TERMINAL))
    )
    return {
        row.output_commit_id: to_builtins(
            StoredJob(
                pipeline_id=row.pipeline_id,
                pipeline=row.name,
                version=row.version,
                state=row.state,
                reason=row.reason,
                created=row.created,
                started=row.started,
                finished=row.finished,
                counters={name: getattr(row, name) for name in COUNTER_NAMES},
                restarts=row.restarts,
                run_id=row.run_id,
                results=bytes(row.results) if row.results is not None else None,
                delivered=None if row.delivered is None else msgspec.convert(row.delivered, EgressResult),
            )
        )
        for row in rows
    }


def ended_job(
    txn: Transaction, job: Job, *, state: str, reason: str, finished: dt.datetime, counters: Counters, delivered: EgressResult | None
) -> dict[str, Any]:
    """What is kept of a job that is about to end like this."""
    row = txn.first(sa.select(t.pipeline.c.id, t.pipeline.c.results).join(t.job).where(t.job.c.id == job.key))
    assert row is not None
    return to_builtins(
        StoredJob(
            pipeline_id=row.id,
            pipeline=job.pipeline.name,
            version=job.version,
            state=state,
            reason=reason,
            created=job.created,
            started=job.started,
            finished=finished,
            counters=dataclasses.asdict(counters),
            restarts=job.restarts,
            run_id=job.run_id,
            results=bytes(row.results) if row.results is not None else None,
            delivered=delivered,
        )
    )


def job_records(
    txn: Transaction,
    job: Job,
    state: JobState,
    *,
    reason: str,
    finished: dt.datetime,
    counters: Counters,
    output: tuple[bytes, int] | None,
    meta: tuple[bytes, int] | None,
    delivered: EgressResult | None = None,
) -> JobRecords:
    """The records of the commits of a job that is about to end like this: to be stored before `jobs.finish` is given them.

    Args:
        output, meta: their contents, as encoded roots with their sizes.
    """
    found = load_records(txn, [job.output_commit, job.meta_commit])
    records = []
    for commit_id, content in ((job.output_commit, output), (job.meta_commit, meta)):
        tree, size_bytes = content if content is not None else (None, 0)
        ended = {"finished": finished, "tree": tree, "size_bytes": size_bytes, "error": error_of(state, reason)}
        records.append(msgspec.structs.replace(found[commit_id], **ended))
    own = ended_job(txn, job, state=state, reason=reason, finished=finished, counters=counters, delivered=delivered)
    return JobRecords(msgspec.structs.replace(records[0], job=own, stored_bytes=counters.upload_bytes), records[1])


def to_builtins(job: StoredJob) -> dict[str, Any]:
    """The job as the map that a commit's record holds."""
    found: dict[str, Any] = msgspec.to_builtins(job, builtin_types=(bytes, dt.datetime))
    return found


def from_builtins(job: Mapping[str, Any]) -> StoredJob:
    """The job that a commit's record holds."""
    return msgspec.convert(job, StoredJob)
