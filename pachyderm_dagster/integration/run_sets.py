"""Which commit sets a Dagster run works on: those that the sensor asked for, or a new one when a user started the run."""

import contextlib
from collections.abc import Collection, Mapping, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import request_lease
from pachyderm_dagster.integration.applying import wait_applied
from pachyderm_dagster.integration.branch_assets import KeyOf
from pachyderm_dagster.integration.dagster_inner import graph_of_run, layer_of_run, selected_in_run, step_of
from pachyderm_dagster.integration.declared import DeclaredPipeline, declared_as
from pachyderm_dagster.integration.launches import Launch, mark_repeated, read_launch, repeat_set
from pachyderm_dagster.integration.pin_checks import read_assets
from pachyderm_dagster.integration.set_partitions import set_of_partition
from pachyderm_dagster.integration.set_runs import sets_of
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.pins import run_pipelines
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.workspace import Workspace


def sets_of_run(workspace: Workspace, context: dg.AssetExecutionContext, key_of: KeyOf) -> frozenset[str]:
    """The commit sets of the run in which a step finds itself; the same for all its steps.

    A run that the sensor asked for has them as tags. One that a user started gets a new set: each of its pipelines runs again, on the current heads or on what
    its configuration says, all in one transaction. So does a re-execution, unless sets that it inherited still have jobs to do.

    Raises:
        StateError: `pipeline-stopped`, when one of the run's pipelines is.
        NotFoundError: `pipeline-not-found`.
        ConflictError: `requests-busy`.
        ExistsError, InvalidError, NotFoundError: as `apply_declared`.
        InvalidError, StateError, NotFoundError: as `read_launch` and `run_pipelines`, for what the configuration says.
    """
    steps = _steps_of(context)
    settled = _settled_sets(workspace, _run(context), steps)
    if settled:
        return settled
    # A step knows its own maker's pipelines; this one makes jobs of all.
    wait_applied(workspace, _declared_in(context))
    # From the transaction on, the sensor would ask for a run of the new set; it must see that this run has it.
    with contextlib.ExitStack() as held:
        owner = workspace.database.clock.new_id()
        for project in sorted({name.project for name in steps}):
            held.enter_context(wait_for(workspace.leases, request_lease(project), owner))
        run = _run(context)
        # Another step of this run, in a process of its own, may have been first.
        settled = _settled_sets(workspace, run, steps)
        if settled:
            return settled
        return _make_set(workspace, context, run, steps, key_of)


def _make_set(workspace: Workspace, context: dg.AssetExecutionContext, run: dg.DagsterRun, steps: Mapping[RepoName, str], key_of: KeyOf) -> frozenset[str]:
    """A new set for a run that a user started, noted on the run; or the set that is its partition, while jobs of that are left."""
    partition = set_of_partition(context.partition_key) if context.has_partition_key else None
    read = read_assets(layer_of_run(context))
    undone, made = workspace.database.write(lambda txn: (_rerun(txn, read_launch(txn, run, steps, key_of, read), list(steps), partition), txn.id))
    if undone:
        context.instance.add_run_tags(run.run_id, {labels.COMMIT_SET: undone[0].id})
        return frozenset([undone[0].id])
    if partition is not None:
        workspace.database.write(lambda txn: mark_repeated(txn, made, partition))
    context.instance.add_run_tags(run.run_id, {labels.COMMIT_SET: made, labels.MADE_SET: run.run_id})
    context.log.info("this run was started by hand: commit set %s runs %s again", made, ", ".join(map(str, steps)))
    return frozenset([made])


def _run(context: dg.AssetExecutionContext) -> dg.DagsterRun:
    # Not the context's own copy: an earlier step may have added the tags.
    run = context.instance.get_run_by_id(context.run.run_id)
    return context.run if run is None else run


def _steps_of(context: dg.AssetExecutionContext) -> dict[RepoName, str]:
    """The step of each pipeline among the run's assets, which may be of several makers."""
    graph = graph_of_run(context)
    return {parse_repo(name): step_of(graph, key) for key, name in _selected(context, labels.PIPELINE)}


def _declared_in(context: dg.AssetExecutionContext) -> list[DeclaredPipeline]:
    """The pipelines among the run's assets that a Dagster project declares."""
    names = dict(_selected(context, labels.PIPELINE))
    return [declared_as(UserSpec(text), parse_repo(names[key]).project) for key, text in _selected(context, labels.DECLARED)]


def _selected(context: dg.AssetExecutionContext, label: str) -> list[tuple[dg.AssetKey, str]]:
    """What the metadata of the run's assets say under a label, by asset."""
    graph = graph_of_run(context)
    found = ((key, labels.text(graph.get(key).metadata, label)) for key in sorted(selected_in_run(context)))
    return [(key, text) for key, text in found if text is not None]


def _settled_sets(workspace: Workspace, run: dg.DagsterRun, chosen: Collection[RepoName]) -> frozenset[str]:
    found = sets_of(run.tags)
    if labels.PARENT_RUN not in run.tags or run.tags.get(labels.MADE_SET) == run.run_id:
        return found
    with workspace.database.read() as txn:
        undone = {job.id for job in jobs.list_job(txn, unfinished_only=True) if job.pipeline in chosen}
    return found & undone


def _rerun(txn: Transaction, launch: Launch, names: Sequence[RepoName], partition: str | None) -> list[Job]:
    """Runs the pipelines again; or gives the jobs of the partition that were never done."""
    if partition is not None:
        return repeat_set(txn, partition, names, launch)
    run_pipelines(txn, names, pins=launch.pins, reprocess=launch.reprocess)
    return []
