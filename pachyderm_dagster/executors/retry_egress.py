"""Repeats the egress of a job that has ended, and nothing else of it."""

from pachyderm_dagster.coordination.leases import HeldLease, hold
from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StateError
from pachyderm_dagster.executors.egress import EgressRun, egress_run, run_egress_watched
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace


def retry_egress(workspace: Workspace, job: Job) -> Job:
    """Brings the output of a job, which is there, to where its version of the pipeline says, and returns the job: SUCCESS, or EGRESS_FAILURE with the reason.

    No datum runs and no commit is made. Killed on the way, the job is as it was before.

    Raises:
        ConflictError: `job-running`, when somebody else is at it.
        StateError: `job-without-output`, when it is unfinished or failed; `commit-forgotten`.
        InvalidError: `no-egress`, when the pipeline had none.
        NotFoundError: `job-not-found`, when it was deleted.
    """
    with hold(workspace.leases, job_lease(job.key), workspace.database.clock.new_id()) as held:
        if held is None:
            raise ConflictError("job-running", f"another process is at work on job '{job}'; `pachctl wait job {job}` waits until it has ended")
        with workspace.database.read() as txn:
            run = _find_run(txn, workspace, job)
        _run_again(workspace, job, run, held)
        with workspace.database.read() as txn:
            return jobs.refresh(txn, job)


def _find_run(txn: Transaction, workspace: Workspace, job: Job) -> EgressRun:
    now = jobs.refresh(txn, job)
    egress = pipelines.get_pipeline(txn, now.pipeline, version=now.version).spec.egress
    if egress is None:
        raise InvalidError(
            "no-egress", f"pipeline '{now.pipeline}' has no egress in version {now.version}; `pachctl update pipeline` with one makes a job that has"
        )
    if not now.state.has_output:
        what = f"job '{now}' is {now.state}, and only one with a good output can send it"
        raise StateError(
            "job-without-output", f"{what}; {'`pachctl rerun pipeline` makes another' if now.state.is_terminal else '`pachctl wait job` waits for it'}"
        )
    return egress_run(workspace, egress, commits.readable_tree(txn, now.output_commit))


def _run_again(workspace: Workspace, job: Job, run: EgressRun, held: HeldLease) -> None:
    def check() -> None:
        if held.is_lost():
            raise ConflictError("job-running", f"this process lost its claim on job '{job}' and stopped; try again")

    ended = run_egress_watched(run, check)
    if isinstance(ended, PachydermError):
        workspace.database.write(lambda txn: jobs.record_egress(txn, job, JobState.EGRESS_FAILURE, reason=f"egress: {ended}"))
    else:
        workspace.database.write(lambda txn: jobs.record_egress(txn, job, JobState.SUCCESS, delivered=ended))
