"""Offers of jobs that are over, which drivers left that were killed: pods are to leave these jobs, and what is in their work areas is nobody's any more."""

from collections.abc import Collection, Iterable, Sequence

from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.executors.kubernetes.attempt_areas import job_of_area
from pachyderm_dagster.executors.kubernetes.names import JobNames
from pachyderm_dagster.executors.kubernetes.offering import Offers
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace

_NEWEST = 1000
"""So many jobs of the record are looked through for that of an offer; the area of an older one is the janitor's."""


def remove_ended(workspace: Workspace, home: str, offered: Iterable[tuple[JobQueue, str]], unfinished: Collection[str]) -> None:
    """Takes areas whose jobs are over from the queues, so that pods let go of what runs, and then removes those areas that no driver uses.

    Args:
        offered: areas, each with the queue that it stands in.
        unfinished: the jobs that are not over, by their name on Kubernetes.
    """
    ended = [(queue, area) for queue, area in offered if job_of_area(area) not in unfinished]
    for queue, area in ended:
        queue.remove(area)
    for left in _unused(workspace, home, [area for _, area in ended]):
        Offers(left, workspace.etcd).remove()
        left.remove()


def _unused(workspace: Workspace, home: str, names: Sequence[str]) -> list[WorkArea]:
    """The areas of which the record says that no driver lives: one that does reads its own until it has seen the end of its job."""
    if not names:
        return []
    with workspace.database.read() as txn:
        leases = {JobNames(home, job).name: job_lease(job.key) for job in jobs.list_job(txn, ended_only=True, number=_NEWEST)}
    known = {name: leases[job_of_area(name)] for name in names if job_of_area(name) in leases}
    held = workspace.leases.find_owners(set(known.values()))
    return [WorkArea(workspace.store, name) for name, lease in known.items() if lease not in held]
