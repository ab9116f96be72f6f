"""What Deployment and pods of a service or a spout say of how it does: pure functions."""

from collections.abc import Sequence

from pachyderm_dagster.executors.kubernetes.conditions import find_problem, why_no_pods
from pachyderm_dagster.executors.kubernetes.kept_manifests import SERVES_ANNOTATION, annotation
from pachyderm_dagster.executors.kubernetes.patches import Manifest


def is_served(deployment: Manifest) -> bool:
    """Whether the pod of what a Deployment says now is ready, and there is no other."""
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    return all(status.get(name, 0) == deployment["spec"]["replicas"] for name in ("replicas", "updatedReplicas", "availableReplicas"))


def why_not_served(deployment: Manifest, pods: Sequence[Manifest]) -> str | None:
    """Why the pod of what it says now is not ready, in the words of the cluster; None as long as it may become so."""
    serves = annotation(deployment, SERVES_ANNOTATION)
    return find_problem([pod for pod in pods if annotation(pod, SERVES_ANNOTATION) == serves]) or why_no_pods(deployment)
