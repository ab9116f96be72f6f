"""Where the pods of runs are: on this machine, or on a cluster."""

import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from pachyderm_dagster.argo.local_executor import LocalExecutor
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.pod_gc import pod_gc_of, remove_files_of_pods, removes_at_end, removes_claims
from pachyderm_dagster.argo.pods import Executor
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.argo.this_machine import check_for_this_machine


class PodPlace(Protocol):
    """Where the pods of all runs of a home are.

    Attributes:
        most_pods: how many of one process run at once, beside what workflows say; None for as many as the machine's processors are good for.
        has_network: whether pods have one, whatever was said when the run was submitted.
    """

    most_pods: int | None
    has_network: bool

    def check(self, subject: Subject) -> None:
        """Refuses a workflow whose pods cannot be there.

        Raises:
            InvalidError: `spec-unsupported`.
        """
        ...

    def opened(self, folder: Path, subject: Subject, *, network: bool) -> AbstractAsyncContextManager[Executor]:
        """What runs the pods of a run, for a block, after which nothing goes on that the block began, but for pods of others."""
        ...

    def end(self, folder: Path, subject: Subject, phase: Phase) -> None:
        """Ends what still runs of a run that has ended, and removes what `podGC` and `volumeClaimGC` say."""
        ...

    def remove(self, folder: Path, subject: Subject) -> None:
        """Removes what there is of a run outside its folder."""
        ...


class LocalPlace:
    """This machine.

    Args:
        claims: where volumes are that outlive runs.
        objects: those of the home, where pods' `kubectl` acts on them.
    """

    most_pods: int | None = None
    has_network = False

    def __init__(self, claims: Path, objects: Path | None = None) -> None:
        self._claims, self._objects = claims, objects

    def check(self, subject: Subject) -> None:
        """As `PodPlace.check`."""
        check_for_this_machine(subject)

    def opened(self, folder: Path, subject: Subject, *, network: bool) -> AbstractAsyncContextManager[Executor]:
        """As `PodPlace.opened`."""
        executor = LocalExecutor(folder, self._claims, folder.name, network=network, pod_gc=pod_gc_of(subject.spec), objects=self._objects)
        return executor.opened()

    def end(self, folder: Path, subject: Subject, phase: Phase) -> None:
        """As `PodPlace.end`."""
        if removes_claims(subject.spec, phase):
            shutil.rmtree(folder / "claims", ignore_errors=True)
        if removes_at_end(pod_gc_of(subject.spec), phase):
            remove_files_of_pods(folder / "pods")

    def remove(self, folder: Path, subject: Subject) -> None:
        """Nothing: all of it is in the folder."""
