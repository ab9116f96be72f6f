"""What there is of a pipeline's workers on the cluster now: for people who look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, JOBS, PODS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import is_over, why_no_pods, why_not_begun, why_not_starting, works
from pachyderm_dagster.executors.kubernetes.names import (
    HOME_LABEL,
    JOB_ANNOTATION,
    JOB_LABEL,
    KEPT_ANNOTATION,
    KEPT_LABEL,
    WORKERS_ANNOTATION,
    WORKERS_LABEL,
)
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.settings import KubernetesSettings


@dataclass(frozen=True, slots=True)
class _FoundBy:
    """What makes pods, in which of its annotations whose they are stands before an `@`, and which label of the pods has its name."""

    kind: str
    called: str
    annotation: str
    label: str


_OF_JOBS = _FoundBy(JOBS, "Job", JOB_ANNOTATION, JOB_LABEL)
_STAYING = _FoundBy(DEPLOYMENTS, "Deployment", WORKERS_ANNOTATION, WORKERS_LABEL)
_KEPT = _FoundBy(DEPLOYMENTS, "Deployment", KEPT_ANNOTATION, KEPT_LABEL)


@dataclass(frozen=True, slots=True)
class Workers:
    """The pods of one Job or Deployment.

    Attributes:
        kind: `Job`, of one job, or `Deployment`, of workers or of code that stay.
        wanted: so many pods are to be there.
        running: of so many the worker and user code's container run.
        problem: why others do not, in the kubelet's or scheduler's words; empty where none of them says.
    """

    kind: str
    name: str
    wanted: int
    running: int
    problem: str


def list_workers(settings: KubernetesSettings, home: str, pipeline: RepoName, *, staying: bool, kept: bool = False) -> Sequence[Workers]:
    """Those of a pipeline, whatever its version.

    Args:
        home: id of the home's store.
        staying: whether its workers stay between jobs.
        kept: whether it is a service or a spout, whose code stays.

    Raises:
        InvalidError: `config-invalid`, when no cluster is known.
        ExecutionError: `cluster-denied`.
        UnreachableError: `cluster-unreachable`.
    """
    cluster, found_by = Cluster(settings), _KEPT if kept else _STAYING if staying else _OF_JOBS
    there = cluster.list(found_by.kind, labels=f"{HOME_LABEL}={home}")["items"]
    own = str(pipeline) if kept else f"{pipeline.project}/{pipeline.name}"
    makers = [maker for maker in there if maker["metadata"].get("annotations", {}).get(found_by.annotation, "").partition("@")[0] == own]
    return [count_workers(found_by.called, maker, cluster.list(PODS, labels=f"{found_by.label}={maker['metadata']['name']}")["items"]) for maker in makers]


def count_workers(kind: str, maker: Manifest, pods: Sequence[Manifest]) -> Workers:
    """The pods of what makes them."""
    alive = [pod for pod in pods if not is_over(pod)]
    problem = next(_problems(maker, pods, alive), "")
    return Workers(kind, maker["metadata"]["name"], _wanted(maker), sum(map(works, alive)), problem)


def _problems(maker: Manifest, pods: Sequence[Manifest], alive: Sequence[Manifest]) -> Iterator[str]:
    asked = [*map(why_not_starting, alive), why_no_pods(maker), *(why_not_begun(pod) for pod in pods)]
    yield from filter(None, asked)


def _wanted(maker: Manifest) -> int:
    """A Job makes no pods for indexes that are done."""
    spec = maker["spec"]
    if "completions" not in spec:
        return int(spec.get("replicas", 1))
    return min(int(spec["parallelism"]), int(spec["completions"]) - int(maker.get("status", {}).get("succeeded", 0)))
