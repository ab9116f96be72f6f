"""The jobs of a service: taken when their commit is to be served, ended when the next one is, or when they cannot be."""

import contextlib

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.executors.ending import Outcome, end_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.job_inputs import load_job_inputs
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.storage.rows import DATUM_ROWS
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.workspace import Workspace


def claim(workspace: Workspace, job: Job) -> Job:
    """Takes a service's job for this process.

    Raises:
        StateError: `job-finished`, when it was ended meanwhile; `job-waiting`, when an input is open.
        NotFoundError: `job-not-found`, when it was deleted meanwhile.
    """
    return workspace.database.write(lambda txn: jobs.claim(txn, job, None))


def end_service_job(workspace: Workspace, job: Job, state: JobState, reason: str = "") -> None:
    """Ends a job, with an empty output when all went well; one that somebody else ended or deleted stays as it is."""
    empty = (workspace.pfs.trees.empty, Trees(workspace.store, DATUM_ROWS).empty) if state is JobState.SUCCESS else (None, None)
    with contextlib.suppress(StateError, NotFoundError):
        claimed = job if job.started is not None else claim(workspace, job)
        end_job(workspace, claimed, Outcome(state, reason, *empty), Counters(), since=workspace.database.clock.now())


def end_unrunnable(workspace: Workspace, job: Job) -> None:
    """Ends a job that reads a commit with an error, and says which."""
    with contextlib.suppress(NotFoundError):
        with workspace.database.read() as txn:
            reason = load_job_inputs(txn, job).why_unrunnable
        end_service_job(workspace, job, JobState.UNRUNNABLE, reason)
