"""One Job on the cluster: made, or found where an earlier driver left it, and removed with all that belongs to it."""

import time
from collections.abc import Sequence
from typing import Protocol

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.kubernetes.cluster import JOBS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import owned_by
from pachyderm_dagster.executors.kubernetes.conditions import DELETED, JobEnd, end_of, is_finished
from pachyderm_dagster.executors.kubernetes.names import JOB_LABEL
from pachyderm_dagster.executors.kubernetes.patches import Manifest

REMOVAL_SECONDS = 120.0
LOOK_SECONDS = 0.25
_LOOK_GROWTH = 1.25


class PodMaker(Protocol):
    """What makes the pods of a job on the cluster.

    Attributes:
        kind, name: what it is there.
        called: what it is, with its name, for people.
        labels: a selector of it and of its pods.
    """

    kind: str
    name: str
    called: str
    labels: str

    def begin(self) -> None:
        """Has pods made for the job, or goes on with what makes some.

        Raises:
            InvalidError: `pod-refused`, when the cluster does not take it.
            ExecutionError: `pods-remain`, when an earlier one does not go.
        """
        ...

    def end_seen(self, there: Sequence[Manifest]) -> JobEnd | None:
        """How it ended, by what is watched of it; None as long as it makes pods."""
        ...

    def remove(self) -> None:
        """Has no pod work for the job any more, also after a `begin` that was interrupted. Those that stay see it within seconds."""
        ...


class PodJob:
    """The Job of a manifest, and the copies of secrets that its pods use."""

    kind = JOBS

    def __init__(self, cluster: Cluster, manifest: Manifest, copies: Sequence[Manifest]) -> None:
        self._cluster, self._manifest, self._copies = cluster, manifest, copies
        self.name = str(manifest["metadata"]["name"])
        self.called = f"Job {self.name}"
        self.labels = f"{JOB_LABEL}={self.name}"
        self.uid: str | None = None

    def begin(self) -> None:
        """Makes the Job, or goes on with one that still makes pods; one that has ended is made anew."""
        made: Manifest | None = None
        while made is None:
            there = self._cluster.get(JOBS, self.name)
            if there is not None and is_finished(there):
                remove_job(self._cluster, there)
                # They are its own, and would be taken away some time later.
                for copy in self._copies:
                    self._cluster.delete(SECRETS, copy["metadata"]["name"])
                there = None
            self._copy_secrets()
            made = there or self._cluster.create(JOBS, self._manifest)
        self.uid = str(made["metadata"]["uid"])
        for copy in self._copies:
            self._cluster.patch(SECRETS, copy["metadata"]["name"], owned_by(self._manifest, made))

    def end_seen(self, there: Sequence[Manifest]) -> JobEnd | None:
        """As `PodMaker.end_seen`."""
        # What is watched may be of the moment before it was made anew.
        job = next((one for one in there if one["metadata"]["uid"] == self.uid), None) or self._find()
        return DELETED if job is None else end_of(job)

    def _find(self) -> Manifest | None:
        there = self._cluster.get(JOBS, self.name)
        return there if there is not None and there["metadata"]["uid"] == self.uid else None

    def _copy_secrets(self) -> None:
        for copy in self._copies:
            if self._cluster.create(SECRETS, copy) is None:
                self._cluster.patch(SECRETS, copy["metadata"]["name"], {"data": copy["data"]})

    def remove(self) -> None:
        """Ends its pods and returns when they are gone; whatever is there of it, also of a `begin` that was interrupted. Errors as `remove_job`."""
        there = self._cluster.get(JOBS, self.name)
        if there is not None and self.uid in (None, there["metadata"]["uid"]):
            remove_job(self._cluster, there)
        for copy in self._copies:
            self._cluster.delete(SECRETS, copy["metadata"]["name"])


def remove_job(cluster: Cluster, job: Manifest) -> None:
    """Removes a Job and returns when its pods are gone.

    Raises:
        ExecutionError: `pods-remain`, when they do not go.
    """
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    cluster.delete(JOBS, name, uid=uid)
    until, pause = time.monotonic() + REMOVAL_SECONDS, LOOK_SECONDS
    while (there := cluster.get(JOBS, name)) is not None and there["metadata"]["uid"] == uid:
        if time.monotonic() > until:
            problem = f"the pods of Job {name} are not gone {REMOVAL_SECONDS:.0f} s after they were told to end"
            raise ExecutionError("pods-remain", f"{problem}; `kubectl get pods -l job-name={name}` shows them, and on which node")
        time.sleep(pause)
        # Thousands of pods take minutes to go.
        pause *= _LOOK_GROWTH
