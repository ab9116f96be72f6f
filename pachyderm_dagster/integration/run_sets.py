"""Which commit sets a Dagster run works on: those that the sensor asked for, or a new one when a user started the run."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease, Leases
from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.integration.set_runs import sets_of
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.workspace import Workspace

WAIT_SECONDS = 60.0
POLL_SECONDS = 0.1


def request_lease(project: str) -> str:
    """Held while somebody decides which sets of a project become runs, or makes a set for a run that exists already."""
    return f"requests/{project}"


def sets_of_run(workspace: Workspace, context: dg.AssetExecutionContext) -> frozenset[str]:
    """The commit sets of the run in which a step finds itself; the same for all its steps.

    A run that the sensor asked for has them as tags. One that a user started gets a new set: each of its pipelines runs again on the current heads, all in
    one transaction. So does a re-execution, unless sets that it inherited still have jobs to do.

    Raises:
        StateError: `pipeline-stopped`, when one of the run's pipelines is.
        NotFoundError: `pipeline-not-found`.
        ConflictError: `requests-busy`.
    """
    run = _run(context)
    chosen = _pipelines_of(context)
    settled = _settled_sets(workspace, run, chosen)
    if settled:
        return settled
    # From the transaction on, the sensor would ask for a run of the new set; it must see that this run has it.
    with contextlib.ExitStack() as held:
        for project in sorted({name.project for name in chosen}):
            held.enter_context(_waited_for(workspace.leases, request_lease(project), run.run_id))
        found = workspace.database.write(lambda txn: _rerun(txn, chosen))
        context.instance.add_run_tags(run.run_id, {labels.COMMIT_SET: found, labels.MADE_SET: run.run_id})
    context.log.info("this run was started by hand: commit set %s runs %s again", found, ", ".join(map(str, chosen)))
    return frozenset([found])


def _run(context: dg.AssetExecutionContext) -> dg.DagsterRun:
    # Not the context's own copy: an earlier step may have added the tags.
    run = context.instance.get_run_by_id(context.run.run_id)
    return context.run if run is None else run


def _pipelines_of(context: dg.AssetExecutionContext) -> list[RepoName]:
    """The pipelines among the run's assets, which may be of several makers."""
    layer = context.job_def.asset_layer
    found = (labels.text(layer.asset_graph.get(key).metadata, labels.PIPELINE) for key in layer.selected_asset_keys)
    return sorted(parse_repo(name) for name in found if name is not None)


def _settled_sets(workspace: Workspace, run: dg.DagsterRun, chosen: Sequence[RepoName]) -> frozenset[str]:
    found = sets_of(run.tags)
    if labels.PARENT_RUN not in run.tags or run.tags.get(labels.MADE_SET) == run.run_id:
        return found
    with workspace.database.read() as txn:
        undone = {job.id for job in jobs.list_job(txn, unfinished_only=True) if job.pipeline in chosen}
    return found & undone


def _rerun(txn: Transaction, chosen: Sequence[RepoName]) -> str:
    for name in chosen:
        pipelines.rerun_pipeline(txn, name)
    return txn.id


@contextlib.contextmanager
def _waited_for(leases: Leases, name: str, owner: str) -> Iterator[None]:
    deadline = time.monotonic() + WAIT_SECONDS
    while not leases.acquire(name, owner, LEASE_TIME):
        if time.monotonic() > deadline:
            raise ConflictError("requests-busy", f"lease {name!r} was not free for {WAIT_SECONDS:g} s; is a commit sensor stuck? Start the run again")
        time.sleep(POLL_SECONDS)
    with HeldLease(leases, name, owner):
        yield
