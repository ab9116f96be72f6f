"""Looks after the workers that stay, between jobs: has them go when they idle, and their Deployments when their pipeline or its version is gone."""

import contextlib
import logging
from collections.abc import Iterator

from pachyderm_dagster.errors import ConflictError, ExecutionError, InvalidError, NotFoundError, PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, Cluster
from pachyderm_dagster.executors.kubernetes.ended_offers import remove_ended
from pachyderm_dagster.executors.kubernetes.idle_workers import WorkerPool, plan_workers
from pachyderm_dagster.executors.kubernetes.kept_manifests import is_kept
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, JobNames, workers_of
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.staying_pods import StayingWorkers, make_deployment, staying_workers
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.cooldown import cooldown_of
from pachyderm_dagster.pps.model import Job, JobState, Pipeline, PipelineState
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.workspace import Workspace

_DRIVEN = frozenset({JobState.STARTING, JobState.RUNNING, JobState.EGRESSING, JobState.FINISHING})

_log = logging.getLogger(__name__)


def list_deployments(workspace: Workspace, cluster: Cluster, home: str) -> list[Manifest]:
    """The Deployments of a home; none for an account that may not know, as long as no pipeline has workers that stay, or is a service or a spout.

    Raises:
        PachydermError: as `Cluster`.
    """
    try:
        found: list[Manifest] = cluster.list(DEPLOYMENTS, labels=f"{HOME_LABEL}={home}")["items"]
    except ExecutionError:
        with workspace.database.read() as txn:
            if any(pipeline.spec.autoscaling or pipeline.spec.runs_on for pipeline in pipelines.list_pipeline(txn)):
                raise
        return []
    return found


def tend_home(workspace: Workspace, settings: KubernetesSettings) -> None:
    """Looks after the workers of a home, by whoever has nothing else to do with the cluster. What fails is told as by `tend`."""
    with _telling("workers that stay between jobs could not be looked after now"):
        home = find_store_id(workspace.store)
        if home is not None:
            _tend(workspace, settings, Cluster(settings), home)


def tend(workspace: Workspace, settings: KubernetesSettings, cluster: Cluster, home: str) -> None:
    """Does what `plan_workers` says, and takes jobs that have ended from queues where a driver died. What fails now is told, and the next call's."""
    with _telling("workers that stay between jobs could not be looked after now"):
        _tend(workspace, settings, cluster, home)


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """What fails in the block is told; what is behind the block is none the worse for it."""
    try:
        yield
    except (PachydermError, OSError) as error:
        _log.warning("%s: %s", what, error)


def _tend(workspace: Workspace, settings: KubernetesSettings, cluster: Cluster, home: str) -> None:
    deployments = [found for found in list_deployments(workspace, cluster, home) if not is_kept(found)]
    queues = [JobQueue(workspace.store, found["metadata"]["name"]) for found in deployments]
    offered = [(queue, area) for queue in queues for area in queue.jobs()]
    # After the look at the queues: a job that stands in one was begun before.
    with workspace.database.read() as txn:
        unfinished = jobs.list_job(txn, unfinished_only=True)
        found = [(pipeline, _last_ended(txn, pipeline)) for pipeline in pipelines.list_pipeline(txn) if pipeline.spec.autoscaling and not pipeline.spec.runs_on]
    workers = dict(_workers(workspace, settings, home, [pipeline for pipeline, _ in found]))
    pools = {workers[pipeline.key].name: _pool(pipeline, ended, settings) for pipeline, ended in found if pipeline.key in workers}
    busy = {workers_of(job.pipeline, job.version) for job in unfinished if job.state in _DRIVEN}
    plan = plan_workers(deployments, pools, busy, workspace.database.clock.now())
    remove_ended(workspace, home, offered, {JobNames(home, job).name for job in unfinished})
    for removed in plan.remove:
        with _telling(f"the workers {removed['metadata']['name']}, which are of no pipeline any more, could not be removed now"):
            _log.info("the workers %s are of no pipeline any more", removed["metadata"]["name"])
            cluster.delete(DEPLOYMENTS, removed["metadata"]["name"], uid=removed["metadata"]["uid"])
    for scale in plan.scale:
        # Otherwise a driver has scaled it up, or somebody else did all this.
        with _telling(f"the workers {scale.name} could not be scaled now"), contextlib.suppress(ConflictError, NotFoundError):
            cluster.patch(DEPLOYMENTS, scale.name, {"metadata": {"resourceVersion": scale.version}, "spec": {"replicas": scale.replicas}})
    for one in workers.values():
        if one.name in plan.make:
            with _telling(f"the workers {one.name} could not be made now"):
                make_deployment(cluster, one, pools[one.name].most)


def _workers(workspace: Workspace, settings: KubernetesSettings, home: str, found: list[Pipeline]) -> Iterator[tuple[int, StayingWorkers]]:
    """By pipeline; without those of which no pods can be made: their jobs tell why."""
    for pipeline in found:
        try:
            yield pipeline.key, staying_workers(workspace, settings, home, pipeline)
        except (InvalidError, NotFoundError):
            continue


def _last_ended(txn: Transaction, pipeline: Pipeline) -> Job | None:
    return next(iter(jobs.list_job(txn, pipeline=pipeline.name, ended_only=True, number=1)), None)


def _pool(pipeline: Pipeline, ended: Job | None, settings: KubernetesSettings) -> WorkerPool:
    spec = pipeline.spec
    return WorkerPool(
        most=spec.parallelism_spec.constant or 1,
        cooldown=cooldown_of(spec, settings.cooldown_seconds),
        is_stopped=pipeline.state is PipelineState.PAUSED,
        idle_since=None if ended is None else ended.finished,
    )
