"""Which work area an attempt at a job has whose pods stay: an earlier one's that stands, or one of a name that none had before (docs/design/0026)."""

from collections.abc import Iterator

from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.work_area import WORK, WorkArea

_BEHIND_FOLDER = "0"
"""The character behind the `/` of keys."""


def choose_area(store: ObjectStore, job: str, queue: JobQueue, coordination: str, new_id: str) -> WorkArea:
    """The area that the driver before this one left when it was killed; without one a new area. What else is left of areas of the job goes.

    Pods that stay may still write into an area that was removed, so a name is not used again.

    Args:
        job: its name on Kubernetes.
        queue: where areas are offered.
        coordination: where workers claim sets; one with another place for that cannot be gone on with.
        new_id: of an area that is new.
    """
    for name in list_areas(store, job):
        area = WorkArea(store, name)
        if area.stands(coordination):
            return area
        queue.remove(name)
        area.remove()
    return WorkArea(store, f"{job}.{new_id}")


def job_of_area(name: str) -> str:
    """The name of the job on Kubernetes that an area is of, by the area's name."""
    return name.partition(".")[0]


def list_areas(store: ObjectStore, job: str) -> Iterator[str]:
    """The names of the areas of a job, each by one look: there may be many objects in them."""
    start = f"{WORK}/{job}."
    after = start
    while (found := next(iter(store.list(WORK, after=after)), None)) is not None and found.key.startswith(start):
        name = found.key.split("/")[1]
        yield name
        after = f"{WORK}/{name}{_BEHIND_FOLDER}"
