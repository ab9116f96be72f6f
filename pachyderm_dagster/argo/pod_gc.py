"""When the roots and volumes of pods are removed; what they printed stays."""

import shutil
from pathlib import Path

from pachyderm_dagster.argo.nodes import Phase

STRATEGIES = ("OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess")


def removes_at_pods_end(strategy: str, phase: Phase) -> bool:
    """Whether what a pod left is removed when it has ended so."""
    return strategy == "OnPodCompletion" or (strategy == "OnPodSuccess" and phase is Phase.SUCCEEDED)


def removes_at_end(strategy: str, phase: Phase) -> bool:
    """Whether what all pods left is removed when the workflow has ended so."""
    return strategy == "OnWorkflowCompletion" or (strategy == "OnWorkflowSuccess" and phase is Phase.SUCCEEDED)


def remove_files_of_pods(pods: Path) -> None:
    """Removes what pods left, but for their logs."""
    for pod in pods.iterdir() if pods.is_dir() else ():
        remove_files(pod)


def remove_files(pod: Path) -> None:
    """Removes what a pod left, but for its logs."""
    for folder in (pod / "root", pod / "volumes", *pod.glob("containers/*/root")):
        if folder.exists():
            shutil.rmtree(folder)
