"""Whether what a pipeline says of pods can be, asked when it is made: of our own template, and of the cluster, which makes nothing of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, JOBS, SERVICES, Cluster
from pachyderm_dagster.executors.kubernetes.commands import job_commands, kept_commands, staying_commands
from pachyderm_dagster.executors.kubernetes.kept_manifests import Serving, kept_deployment, kept_service, life_of
from pachyderm_dagster.executors.kubernetes.kept_objects import as_seen
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import KeptNames, WorkerNames
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.settings import KubernetesSettings

_NOBODY = "0" * 32
"""A home whose Jobs and Deployments there never are."""
_STORE = "s3://sample"


@dataclass(frozen=True, slots=True)
class _Sample:
    """What would make the pods of a pipeline, and the Service that leads to them, if it has one."""

    kind: str
    maker: Manifest
    service: Manifest | None = None


def check_pods(settings: KubernetesSettings, specs: Sequence[PipelineSpec], project: str, tell: Callable[[str], None]) -> None:
    """As `choosing.check_pods`."""
    # All that can be told without the cluster.
    samples = [_sample(spec, settings, project) for spec in specs]
    if not samples:
        return
    try:
        cluster = Cluster(settings)
        for sample in samples:
            _ask(cluster, sample)
    except PachydermError as error:
        if error.code == "pod-refused":
            raise
        tell(f"the cluster was not asked whether it takes these pods: {error}")


def _sample(spec: PipelineSpec, settings: KubernetesSettings, project: str) -> _Sample:
    """With names that nothing has, but for a service or a spout, whose name is its own for good. Raises InvalidError as `Pods.job`."""
    name, secrets = spec.pipeline.in_project(project), {use.name: use.name for use in spec.transform.secrets}
    if spec.runs_on:
        serving = Serving("1@", "sample", "sample", {})
        pods = Pods(KeptNames(_NOBODY, name, 1), spec, settings, kept_commands(serving.area, _STORE), secrets, life_of(spec))
        made = kept_deployment(pods, serving)
        owner = {"metadata": {"name": pods.names.name, "uid": _NOBODY}}
        return _Sample(DEPLOYMENTS, made, kept_service(pods, owner))
    names = WorkerNames(_NOBODY, name, 1, b"sample")
    if spec.autoscaling:
        return _Sample(DEPLOYMENTS, Pods(names, spec, settings, staying_commands(names.name, _STORE), secrets).deployment(1))
    return _Sample(JOBS, Pods(names, spec, settings, job_commands(names.name, _STORE), secrets).job(1))


def _ask(cluster: Cluster, sample: _Sample) -> None:
    cluster.try_create(sample.kind, sample.maker)
    if sample.service is None:
        return
    there = cluster.get(SERVICES, sample.service["metadata"]["name"])
    if there is None:
        cluster.try_create(SERVICES, sample.service)
    else:
        # To make another one would ask for the port of the nodes that this one has.
        cluster.try_replace(SERVICES, as_seen(sample.service, there))
