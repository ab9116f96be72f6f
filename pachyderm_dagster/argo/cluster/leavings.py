"""What runs leave on the cluster and in the store: when it goes, and what goes that belongs to runs of which there is nothing more."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from pachyderm_dagster.argo.cluster.area import RunArea
from pachyderm_dagster.argo.cluster.names import HOME_LABEL, RUN_LABEL, WORKFLOW_ANNOTATION, RunNames
from pachyderm_dagster.argo.label_selectors import selects
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.pod_gc import pod_gc_of, removes_claims
from pachyderm_dagster.argo.workflows import PodGc, WorkflowSpec
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import CLAIMS, CONFIG_MAPS, PODS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.storage.objects import ObjectStore

_AT_ONCE = 8
_log = logging.getLogger(__name__)
_KEPT_WHEN_FAILED = ("OnPodSuccess", "OnWorkflowSuccess")


def stays(pod: Manifest, gc: PodGc, phase: Phase) -> bool:
    """Whether a pod is kept when its workflow has ended so, for people to look at: only where `podGC` keeps those that failed, or of workflows that did, or
    those that it does not select.
    """
    found = pod.get("status", {}).get("phase")
    if found not in ("Succeeded", "Failed"):
        return False
    if gc.strategy and not selects(gc.label_selector, pod["metadata"].get("labels", {})):
        return True
    if gc.strategy not in _KEPT_WHEN_FAILED:
        return False
    return found == "Failed" if gc.strategy == "OnPodSuccess" else phase is not Phase.SUCCEEDED


class Leavings:
    """What there is of the runs of a home outside their folders."""

    def __init__(self, cluster: Cluster, store: ObjectStore) -> None:
        self._cluster, self._store = cluster, store

    def end(self, names: RunNames, spec: WorkflowSpec, phase: Phase) -> bool:
        """Ends and removes what is not to stay of a run that has ended; whether that was all there is."""
        pods = self._cluster.list(PODS, labels=names.selector)["items"]
        kept = [pod for pod in pods if stays(pod, pod_gc_of(spec), phase)]
        self._delete(PODS, (pod for pod in pods if pod not in kept))
        for kind in (CONFIG_MAPS, SECRETS):
            self._delete(kind, self._cluster.list(kind, labels=names.selector)["items"])
        claims = self._cluster.list(CLAIMS, labels=names.selector)["items"]
        if removes_claims(spec, phase):
            self._delete(CLAIMS, claims)
        RunArea(self._store, names.uid).remove()
        return not kept and (not claims or removes_claims(spec, phase))

    def remove(self, uid: str) -> None:
        """Removes all there is of a run."""
        for kind in (PODS, CONFIG_MAPS, SECRETS, CLAIMS):
            self._delete(kind, self._cluster.list(kind, labels=f"{RUN_LABEL}={uid}")["items"])
        RunArea(self._store, uid).remove()

    def sweep(self, home: str, known: Callable[[str, str], bool]) -> None:
        """Removes what there is of runs that the home has no more; what cannot be removed now is told, and is the next sweep's.

        Args:
            known: whether the home has the run of a workflow's name and a uid, whatever there is of it: it may be about to begin again.
        """
        try:
            found = [one for kind in (PODS, CONFIG_MAPS, SECRETS, CLAIMS) for one in self._cluster.list(kind, labels=f"{HOME_LABEL}={home}")["items"]]
            runs = {(one["metadata"]["annotations"][WORKFLOW_ANNOTATION], one["metadata"]["labels"][RUN_LABEL]) for one in found}
            for workflow, uid in sorted(runs):
                if not known(workflow, uid):
                    self.remove(uid)
        except PachydermError as error:
            _log.warning("what runs of workflows left on the cluster could not be removed now: %s", error)

    def _delete(self, kind: str, items: Iterable[Manifest]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for _ in threads.map(lambda one: self._cluster.delete(kind, one["metadata"]["name"], uid=one["metadata"]["uid"]), items):
                pass
