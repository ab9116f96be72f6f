"""The jobs that workers of a Deployment may work on: objects `work/DEPLOYMENT/jobs/AREA` in the store, which say nothing but that (docs/design/0026).

A job is called here as the work area is that an attempt at it has.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.work_area import WORK

_JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class JobQueue:
    """The queue of one Deployment.

    Args:
        store: of the home.
        workers: the name of the Deployment.
    """

    store: ObjectStore
    workers: str

    def offer(self, job: str) -> None:
        """Has workers look into the work area of a job."""
        self.store.put_new(self._key(job), b"")

    def remove(self, job: str) -> None:
        """Has them leave it."""
        self.store.delete(self._key(job))

    def has(self, job: str) -> bool:
        """Whether the job is offered."""
        try:
            self.store.get(self._key(job))
        except NotFoundError:
            return False
        return True

    def jobs(self) -> list[str]:
        """The jobs that are offered, by name."""
        return [found.key.rpartition("/")[2] for found in self.store.list(f"{WORK}/{self.workers}/{_JOBS}")]

    def _key(self, job: str) -> str:
        return f"{WORK}/{self.workers}/{_JOBS}/{job}"


def next_job(offered: Collection[str], last: str) -> str | None:
    """The first job behind the last one, and behind those at the end the first of all: none waits for another for ever."""
    return min((job for job in offered if job > last), default=min(offered, default=None))
