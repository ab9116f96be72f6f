"""When the roots and volumes of pods are removed, and the folders of a workflow's claims; what pods printed stays."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.argo.label_selectors import selects
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.workflows import PodGc, WorkflowSpec

STRATEGIES = ("OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess")
CLAIM_STRATEGIES = ("OnWorkflowCompletion", "OnWorkflowSuccess")
_STAYS = "stays"
"""A file in the folder of a pod that `podGC` is not for."""


def pod_gc_of(spec: WorkflowSpec) -> PodGc:
    """When what pods of a workflow left is removed: never where it does not say."""
    return spec.pod_gc or PodGc()


def removes_at_pods_end(gc: PodGc, phase: Phase, labels: Mapping[str, str]) -> bool:
    """Whether what a pod left is removed when it has ended so."""
    is_wanted = gc.strategy == "OnPodCompletion" or (gc.strategy == "OnPodSuccess" and phase is Phase.SUCCEEDED)
    return is_wanted and selects(gc.label_selector, labels)


def removes_at_end(gc: PodGc, phase: Phase) -> bool:
    """Whether what pods left is removed when the workflow has ended so."""
    return gc.strategy == "OnWorkflowCompletion" or (gc.strategy == "OnWorkflowSuccess" and phase is Phase.SUCCEEDED)


def removes_claims(spec: WorkflowSpec, phase: Phase) -> bool:
    """Whether the claims of a workflow are removed when it has ended so: when it succeeded, unless it says otherwise."""
    return phase is Phase.SUCCEEDED or (spec.volume_claim_gc is not None and spec.volume_claim_gc.strategy == "OnWorkflowCompletion")


def remove_files_of_pods(pods: Path) -> None:
    """Removes what pods left, but for their logs."""
    for pod in pods.iterdir() if pods.is_dir() else ():
        if not (pod / _STAYS).exists():
            remove_files(pod)


def let_stay(pod: Path) -> None:
    """Has what a pod left stay when the workflow has ended."""
    (pod / _STAYS).touch()


def remove_files(pod: Path) -> None:
    """Removes what a pod left, but for its logs."""
    for folder in (pod / "root", pod / "volumes", *pod.glob("containers/*/root")):
        if folder.exists():
            shutil.rmtree(folder)
