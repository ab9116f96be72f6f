"""What crashed drivers of a home left on the cluster and in the store: Jobs and work areas of jobs that have ended or are gone."""

import datetime as dt
import logging

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import JOBS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, JOB_LABEL, JobNames
from pachyderm_dagster.executors.kubernetes.offering import Offers
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.worker.work_area import WorkArea, remove_old_areas
from pachyderm_dagster.workspace import Workspace

AREA_AGE = dt.timedelta(hours=1)
"""Of work areas that are removed: in a younger one a driver of this moment may be at work."""

_log = logging.getLogger(__name__)


def sweep(workspace: Workspace, cluster: Cluster, home: str) -> list[str]:
    """Removes the Jobs of a home, with their secrets, whose pipeline job has ended or is gone, and old work areas without a Job. The names of the Jobs.

    What cannot be removed now is told, and is the next sweep's.
    """
    try:
        there = cluster.list(JOBS, labels=f"{HOME_LABEL}={home}")["items"]
        copies = cluster.list(SECRETS, labels=f"{HOME_LABEL}={home}")["items"]
        # After the look at the cluster: a job that has a Job there was begun before.
        wanted = _unfinished(workspace, home)
        left = [job["metadata"]["name"] for job in there if job["metadata"]["name"] not in wanted]
        for name in left:
            cluster.delete(JOBS, name)
        for copy in copies:
            if copy["metadata"]["labels"].get(JOB_LABEL) not in wanted:
                cluster.delete(SECRETS, copy["metadata"]["name"])
        known = wanted | {job["metadata"]["name"] for job in there}
        for name in remove_old_areas(workspace.store, workspace.database.clock.now() - AREA_AGE, lambda name: name not in known):
            Offers(WorkArea(workspace.store, name), workspace.etcd).remove()
    except PachydermError as error:
        _log.warning("what crashed processes left on the cluster could not be removed now: %s", error)
        return []
    return left


def _unfinished(workspace: Workspace, home: str) -> set[str]:
    with workspace.database.read() as txn:
        return {JobNames(home, job).name for job in jobs.list_job(txn, unfinished_only=True)}
