"""What crashed drivers of a home left on the cluster and in the store: Jobs, secrets and work areas of jobs that have ended or are gone."""

import datetime as dt
import logging

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.attempt_areas import job_of_area
from pachyderm_dagster.executors.kubernetes.cluster import JOBS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, JOB_LABEL, KEPT_LABEL, WORKERS_ANNOTATION, WORKERS_LABEL, JobNames, workers_of
from pachyderm_dagster.executors.kubernetes.offering import Offers
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.tending import list_deployments
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.worker.work_area import WorkArea, remove_old_areas
from pachyderm_dagster.workspace import Workspace

AREA_AGE = dt.timedelta(hours=1)
"""Of work areas that are removed: in a younger one a driver of this moment may be at work."""

_log = logging.getLogger(__name__)


def sweep(workspace: Workspace, cluster: Cluster, home: str) -> None:
    """Removes the Jobs of a home, with their secrets, whose pipeline job has ended or is gone, secrets of workers that are, and old work areas without a Job.

    What cannot be removed now is told, and is the next sweep's.
    """
    try:
        there = cluster.list(JOBS, labels=f"{HOME_LABEL}={home}")["items"]
        copies = cluster.list(SECRETS, labels=f"{HOME_LABEL}={home}")["items"]
        staying = {found["metadata"]["name"] for found in list_deployments(workspace, cluster, home)}
        # After the look at the cluster: a job that has a Job there was begun before.
        wanted, workers = _wanted(workspace, home)
        for name in {job["metadata"]["name"] for job in there} - wanted:
            cluster.delete(JOBS, name)
        for copy in copies:
            if not _is_used(copy["metadata"], wanted | staying, workers):
                cluster.delete(SECRETS, copy["metadata"]["name"])
        known = wanted | staying | {job["metadata"]["name"] for job in there}
        for name in remove_old_areas(workspace.store, workspace.database.clock.now() - AREA_AGE, lambda name: job_of_area(name) not in known):
            Offers(WorkArea(workspace.store, name), workspace.etcd).remove()
    except PachydermError as error:
        _log.warning("what crashed processes left on the cluster could not be removed now: %s", error)


def _wanted(workspace: Workspace, home: str) -> tuple[set[str], set[str]]:
    """The names of the Jobs of jobs that have not ended, and whose workers may be made at this moment."""
    with workspace.database.read() as txn:
        unfinished = jobs.list_job(txn, unfinished_only=True)
        workers = {workers_of(pipeline.name, pipeline.version) for pipeline in pipelines.list_pipeline(txn)}
    return {JobNames(home, job).name for job in unfinished}, workers | {workers_of(job.pipeline, job.version) for job in unfinished}


def _is_used(copy: Manifest, names: set[str], workers: set[str]) -> bool:
    """Whether pods use a copy of a secret, or will."""
    labels = copy["labels"]
    return any(labels.get(label) in names for label in (JOB_LABEL, WORKERS_LABEL, KEPT_LABEL)) or copy.get("annotations", {}).get(WORKERS_ANNOTATION) in workers
