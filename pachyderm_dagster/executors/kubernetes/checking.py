"""Whether what a pipeline says of pods can be, asked when it is made: of our own template, and of the cluster, which makes nothing of it."""

from collections.abc import Callable, Sequence

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, JOBS, Cluster
from pachyderm_dagster.executors.kubernetes.commands import job_commands, staying_commands
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import WorkerNames
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.settings import KubernetesSettings

_NOBODY = "0" * 32
"""A home whose Jobs and Deployments there never are."""


def check_pods(settings: KubernetesSettings, specs: Sequence[PipelineSpec], project: str, tell: Callable[[str], None]) -> None:
    """As `choosing.check_pods`."""
    samples = [_sample(spec, settings, project) for spec in specs]
    for sample in samples:
        # All that can be told without the cluster.
        sample.template("Never")
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


def _sample(spec: PipelineSpec, settings: KubernetesSettings, project: str) -> Pods:
    """What pods of a pipeline would be made from, with names that nothing has."""
    names = WorkerNames(_NOBODY, spec.pipeline.in_project(project), 1, b"sample")
    commands = (staying_commands if spec.autoscaling else job_commands)(names.name, "s3://sample")
    return Pods(names, spec, settings, commands, {use.name: use.name for use in spec.transform.secrets})


def _ask(cluster: Cluster, pods: Pods) -> None:
    if pods.spec.autoscaling:
        cluster.try_create(DEPLOYMENTS, pods.deployment(1))
    else:
        cluster.try_create(JOBS, pods.job(1))
