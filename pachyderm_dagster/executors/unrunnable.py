"""Ends the jobs of a commit set that wait for what will never come, so that nobody has to start anything for them."""

import contextlib

from pachyderm_dagster.errors import ConflictError, NotFoundError, StateError
from pachyderm_dagster.executors.run_job import Executor, run_job
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace


def end_unrunnable_jobs(workspace: Workspace, executor: Executor, set_id: str, run_id: str | None) -> list[Job]:
    """Ends the jobs of a set that read a failed commit, in order, each as UNRUNNABLE; returns them. `run_id`: of Dagster, if one does it."""
    ended = []
    with workspace.database.read() as txn:
        undone = jobs.list_job(txn, set_id=set_id, unfinished_only=True)
    for job in sorted(undone, key=lambda job: job.key):
        with workspace.database.read() as txn:
            read = commits.upstream_commits(txn, job.output_commit)
        if all(commit.finished is not None for commit in read) and any(commit.error is not None for commit in read):
            # A lost race: somebody else ends it.
            with contextlib.suppress(ConflictError, StateError, NotFoundError):
                ended.append(run_job(workspace, job, executor=executor, run_id=run_id))
    return ended
