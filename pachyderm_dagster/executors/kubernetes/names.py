"""What jobs and workers are called on a cluster: the names of Jobs and Deployments, and the labels and annotations by which they are found again."""

import re
from dataclasses import dataclass
from typing import Protocol

from pachyderm_dagster.codec import digest
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Job

PREFIX = "pachyderm-dagster"
# A label finds what is there of one home, job, Deployment of workers, or Deployment of a service or spout ("kept"); the annotation has the whole name of
# its pipeline, which a label cannot hold.
HOME_LABEL = f"{PREFIX}/home"
JOB_LABEL = f"{PREFIX}/job-name"
JOB_ANNOTATION = f"{PREFIX}/job"
WORKERS_LABEL = f"{PREFIX}/workers-name"
WORKERS_ANNOTATION = f"{PREFIX}/workers"
KEPT_LABEL = f"{PREFIX}/kept-name"
KEPT_ANNOTATION = f"{PREFIX}/kept"
MANAGED_BY = {"app.kubernetes.io/managed-by": PREFIX}
_MOST_LABEL = 63
_SLUG, _NAMELESS = 28, "pipeline"
_MOST_KEPT = 50
"""Of the name of a Service, with room for what is added for pods."""
_ID = 8


class Names(Protocol):
    """What something that makes pods is called."""

    @property
    def name(self) -> str:
        """A DNS label with room for what Kubernetes adds for a pod."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        ...

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name, which a label cannot hold."""
        ...


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
        return f"{slug(job.pipeline.name, _SLUG, otherwise=_NAMELESS)}-v{job.version}-{job.id[:_ID]}-{own}"

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        job = self.job
        return {**_labels(self.home, job.pipeline, job.version), JOB_LABEL: self.name, f"{PREFIX}/commit-set": job.id}

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name, which a label cannot hold."""
        return {JOB_ANNOTATION: f"{self.job.pipeline.project}/{self.job.pipeline.name}@{self.job.id}"}


@dataclass(frozen=True, slots=True)
class WorkerNames:
    """The names of the workers that stay for one version of a pipeline of a home.

    Args:
        home: id of the home's store.
        content: whatever else makes them others.
    """

    home: str
    pipeline: RepoName
    version: int
    content: bytes

    @property
    def name(self) -> str:
        """Of the Deployment: the same as long as its pods are to be."""
        parts = [self.home, self.pipeline.project, self.pipeline.name, str(self.version)]
        own = digest("kubernetes-workers", [*(part.encode() for part in parts), self.content]).hex()[:_ID]
        return f"{slug(self.pipeline.name, _SLUG, otherwise=_NAMELESS)}-v{self.version}-workers-{own}"

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        return {**_labels(self.home, self.pipeline, self.version), WORKERS_LABEL: self.name}

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name of the pipeline with its version, which a label cannot hold."""
        return {WORKERS_ANNOTATION: workers_of(self.pipeline, self.version)}


@dataclass(frozen=True, slots=True)
class KeptNames:
    """The names of the Deployment of a service or a spout, and of its Service: the same for all versions.

    Args:
        home: id of the home's store.
    """

    home: str
    pipeline: RepoName
    version: int

    @property
    def name(self) -> str:
        """As `kept_name`."""
        return kept_name(self.pipeline)

    @property
    def labels(self) -> dict[str, str]:
        """For people and selectors."""
        return {**_labels(self.home, self.pipeline, self.version), KEPT_LABEL: self.name}

    @property
    def annotations(self) -> dict[str, str]:
        """The whole name of the pipeline, which a label cannot hold."""
        return {KEPT_ANNOTATION: str(self.pipeline)}


def kept_name(pipeline: RepoName) -> str:
    """By which clients find a service in its namespace: `pipeline-PROJECT-PIPELINE`, in small letters, digits and `-`. A long one ends with a digest."""
    name = re.sub(r"[^a-z0-9]+", "-", f"pipeline-{pipeline.project}-{pipeline.name}".lower()).strip("-")
    if len(name) <= _MOST_KEPT:
        return name
    own = digest("kubernetes-kept", [pipeline.project.encode(), pipeline.name.encode()]).hex()[:_ID]
    return f"{name[: _MOST_KEPT - _ID - 1].strip('-')}-{own}"


def workers_of(pipeline: RepoName, version: int) -> str:
    """Whose workers some are, in the annotation that says it."""
    return f"{pipeline.project}/{pipeline.name}@{version}"


def _labels(home: str, pipeline: RepoName, version: int) -> dict[str, str]:
    return {
        **MANAGED_BY,
        HOME_LABEL: home,
        f"{PREFIX}/project": label_value(pipeline.project),
        f"{PREFIX}/pipeline": label_value(pipeline.name),
        f"{PREFIX}/version": str(version),
    }


def label_value(text: str) -> str:
    """A text as a label may have it: it begins and ends with a letter or digit."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:_MOST_LABEL].strip("_.-")


def slug(name: str, most: int, *, otherwise: str) -> str:
    """The beginning of a name as a DNS label may have it; `otherwise` where nothing of it may stay."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:most].strip("-") or otherwise
