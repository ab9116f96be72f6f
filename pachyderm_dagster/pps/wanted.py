"""Which processes of services and spouts should run now, as the record says, and what is written down of how they do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.staying import list_staying


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service or spout that is not stopped.

    Attributes:
        job: the newest of a service's unfinished jobs that can run: what it is to serve. None: nothing yet; of a spout always.
        earlier: its unfinished jobs before that one, the oldest first.
        unrunnable: its unfinished jobs that read a commit with an error.
        is_ended: whether nothing is to run of it: somebody ended the newest job of this version, or all its jobs are gone with their commits.
    """

    pipeline: Pipeline
    job: Job | None = None
    earlier: tuple[Job, ...] = ()
    unrunnable: tuple[Job, ...] = ()
    is_ended: bool = False

    @property
    def has_process(self) -> bool:
        """Whether there is something to run."""
        return self.job is not None or self.pipeline.spec.spout is not None


def list_wanted(txn: Transaction, names: Collection[RepoName] | None = None) -> list[Wanted]:
    """The services and spouts that should run, by name: of the whole record, or those of `names`."""
    asked = list_staying(txn, t.pipeline.c.state != PipelineState.PAUSED)
    return [_wanted(txn, pipelines.get_pipeline(txn, name)) for name in asked if names is None or name in names]


def list_key(txn: Transaction) -> set[int]:
    """The rows of all pipelines."""
    return {row.id for row in txn.all(sa.select(t.pipeline.c.id))}


def set_crashing(txn: Transaction, pipeline: Pipeline, reason: str | None) -> None:
    """Says that the process of this version of a pipeline ends again and again, and why; None: it does not any more. A stopped pipeline stays stopped."""
    state = PipelineState.RUNNING if reason is None else PipelineState.CRASHING
    this = sa.and_(t.pipeline.c.id == pipeline.key, t.pipeline.c.version == pipeline.version, t.pipeline.c.state != PipelineState.PAUSED)
    txn.run(sa.update(t.pipeline).where(this).values(state=state, reason=reason or ""))


def _wanted(txn: Transaction, pipeline: Pipeline) -> Wanted:
    if pipeline.spec.service is None:
        return Wanted(pipeline)
    unfinished = jobs.list_job(txn, pipeline=pipeline.name, unfinished_only=True)[::-1]
    waiting, failed = _inputs(txn, [job.output_commit for job in unfinished])
    ready = [job for job in unfinished if job.output_commit not in waiting]
    runnable = [job for job in ready if job.output_commit not in failed]
    newest = runnable.pop() if runnable else None
    is_ended = not unfinished and _is_ended(txn, pipeline)
    return Wanted(pipeline, newest, tuple(runnable), tuple(job for job in ready if job.output_commit in failed), is_ended)


def _is_ended(txn: Transaction, pipeline: Pipeline) -> bool:
    """Of a service without an unfinished job. An update ends the jobs of the version before, which is served until there is something to take its place."""
    last = next(iter(jobs.list_job(txn, pipeline=pipeline.name, number=1)), None)
    return last is None or (last.state is JobState.KILLED and last.version == pipeline.version)


def _inputs(txn: Transaction, outputs: Sequence[int]) -> tuple[set[int], set[int]]:
    """Those of the output commits that are made from an open commit, and from one with an error."""
    rows = txn.all(
        sa.select(t.commit_provenance.c.commit_id, t.commit.c.finished, t.commit.c.error)
        .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .where(t.commit_provenance.c.commit_id.in_(outputs))
    )
    return {row.commit_id for row in rows if row.finished is None}, {row.commit_id for row in rows if row.error is not None}
