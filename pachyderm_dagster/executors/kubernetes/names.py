"""What a job is called on a cluster: the name of its Job, and the labels and annotations by which it is found again."""

import re
from dataclasses import dataclass

from pachyderm_dagster.codec import digest
from pachyderm_dagster.pps.model import Job

PREFIX = "pachyderm-dagster"
HOME_LABEL = f"{PREFIX}/home"
JOB_LABEL = f"{PREFIX}/job-name"
JOB_ANNOTATION = f"{PREFIX}/job"
MANAGED_BY = {"app.kubernetes.io/managed-by": PREFIX}
_MOST_LABEL = 63
_SLUG = 28
_ID = 8


@dataclass(frozen=True, slots=True)
class JobNames:
    """The names of one job of one home.

    Args:
        home: id of the home's store.
    """

    home: str
    job: Job

    @property
    def name(self) -> str:
        """Of the Job, a DNS label with room for the number of a pod: the same in each attempt, and another one for another job, version or home."""
        job = self.job
        parts = [self.home, job.pipeline.project, job.pipeline.name, str(job.version), job.id]
        own = digest("kubernetes-job", [part.encode() for part in parts]).hex()[:_ID]
        return f"{_slug(job.pipeline.name)}-v{job.version}-{job.id[:_ID]}-{own}"

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        job = self.job
        return {
            **MANAGED_BY,
            HOME_LABEL: self.home,
            JOB_LABEL: self.name,
            f"{PREFIX}/project": label_value(job.pipeline.project),
            f"{PREFIX}/pipeline": label_value(job.pipeline.name),
            f"{PREFIX}/version": str(job.version),
            f"{PREFIX}/commit-set": job.id,
        }

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name, which a label cannot hold."""
        return {JOB_ANNOTATION: f"{self.job.pipeline.project}/{self.job.pipeline.name}@{self.job.id}"}


def label_value(text: str) -> str:
    """A text as a label may have it: it begins and ends with a letter or digit."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:_MOST_LABEL].strip("_.-")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:_SLUG].strip("-") or "pipeline"
