"""What Deployment, pods and worker of a service or a spout say of how it does."""

from collections.abc import Sequence

from pachyderm_dagster.executors.kubernetes.conditions import find_problem, is_crashing, why_no_pods
from pachyderm_dagster.executors.kubernetes.kept_manifests import AREA_ANNOTATION, SERVES_ANNOTATION, annotation
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.work_area import WorkArea


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


def find_last_words(store: ObjectStore, deployment: Manifest, pods: Sequence[Manifest]) -> str:
    """Why the code of a pod ended last that ends again and again, as its worker says; empty when it does not, or there is no such pod."""
    area = WorkArea(store, annotation(deployment, AREA_ANNOTATION))
    found = [area.find_last(pod["metadata"]["uid"]) for pod in pods if annotation(pod, AREA_ANNOTATION) == area.job and is_crashing(pod)]
    return next((str(one.error()) for one in found if one is not None), "")
