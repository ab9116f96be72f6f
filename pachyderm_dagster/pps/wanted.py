"""Which processes of services and spouts should run now, as the record says, and what is written down of how they do."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, Pipeline, PipelineState


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service or spout that is not stopped.

    Attributes:
        job: the newest of a service's unfinished jobs that can run: what it is to serve. None: nothing yet; of a spout always.
        earlier: its unfinished jobs before that one, the oldest first.
        unrunnable: its unfinished jobs that read a commit with an error.
    """

    pipeline: Pipeline
    job: Job | None = None
    earlier: tuple[Job, ...] = ()
    unrunnable: tuple[Job, ...] = ()

    @property
    def has_process(self) -> bool:
        """Whether there is something to run."""
        return self.job is not None or self.pipeline.spec.spout is not None


def list_wanted(txn: Transaction, names: Collection[RepoName] | None = None) -> list[Wanted]:
    """The services and spouts that should run, by name: of the whole record, or those of `names`."""
    # Asked twice a second, so most pipelines are passed over by their text; a command may have these words too.
    spec = t.pipeline_version.c.spec
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.pipeline.c.name)
        .join_from(t.pipeline, t.project)
        .join(t.pipeline_version, sa.and_(t.pipeline_version.c.pipeline_id == t.pipeline.c.id, t.pipeline_version.c.version == t.pipeline.c.version))
        .where(t.pipeline.c.state != PipelineState.PAUSED, sa.or_(spec.contains('"service":'), spec.contains('"spout":')))
        .order_by(t.project.c.name, t.pipeline.c.name)
    )
    asked = [RepoName(row.project, row.name) for row in rows]
    return [_wanted(txn, found) for name in asked if (names is None or name in names) and (found := pipelines.get_pipeline(txn, name)).spec.runs_on]


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
    runnable: list[Job] = []
    unrunnable: list[Job] = []
    for job in reversed(jobs.list_job(txn, pipeline=pipeline.name, unfinished_only=True)):
        read = commits.upstream_commits(txn, job.output_commit)
        if all(commit.finished is not None for commit in read):
            (unrunnable if any(commit.error is not None for commit in read) else runnable).append(job)
    newest = runnable.pop() if runnable else None
    return Wanted(pipeline, newest, tuple(runnable), tuple(unrunnable))
