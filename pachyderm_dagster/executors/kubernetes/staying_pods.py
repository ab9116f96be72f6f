"""The workers that stay for a pipeline: one Deployment a version, which jobs have made and scaled up, and whose queue they stand in (docs/design/0026)."""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, SECRETS, Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import copied_secrets, owned_by, secret_names
from pachyderm_dagster.executors.kubernetes.commands import staying_commands
from pachyderm_dagster.executors.kubernetes.conditions import JobEnd, is_going
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import WORKERS_LABEL, WorkerNames
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.workspace import Workspace

OFFER_SECONDS = 5.0
"""Between looks whether the job is still offered."""
NOT_OFFERED = JobEnd("is not told to work for the job any more", may_pass=False)


@dataclass(frozen=True, slots=True)
class StayingWorkers:
    """The workers of a pipeline as they are to be.

    Args:
        copies: the secrets of the home that their pods use.
    """

    pods: Pods
    copies: Sequence[Manifest]

    @property
    def name(self) -> str:
        """Of the Deployment."""
        return self.pods.names.name


def staying_workers(workspace: Workspace, settings: KubernetesSettings, home: str, pipeline: Pipeline) -> StayingWorkers:
    """The workers of a pipeline in its version. Whatever makes other pods of them gives them another name.

    Raises:
        InvalidError: `pod-patch-invalid`, `user-not-number`.
        NotFoundError: `secret-not-found`, when one was deleted at this moment.
    """
    spec, secrets = pipeline.spec, workspace.secrets

    def pods(content: bytes) -> Pods:
        names = WorkerNames(home, pipeline.name, pipeline.version, content)
        commands = staying_commands(names.name, workspace.settings.storage_url, workspace.settings.log_format)
        return Pods(names, spec, settings, commands, secret_names(spec, secrets, names))

    own = sorted({use.name for use in spec.transform.secrets} & set(secrets.names()))
    ages = [secrets.get(name).created.isoformat() for name in own]
    made = pods(json.dumps([pods(b"").template("Always"), ages], sort_keys=True).encode())
    return StayingWorkers(made, copied_secrets(made.secrets, secrets, made.names))


class StayingPods:
    """The pods that stay, for one job.

    Args:
        job: the name of its work area.
        wanted: so many pods has the job work for.
    """

    kind = DEPLOYMENTS

    def __init__(self, cluster: Cluster, workers: StayingWorkers, queue: JobQueue, job: str, wanted: int) -> None:
        self._cluster, self._workers, self._queue, self._job, self._wanted = cluster, workers, queue, job, wanted
        self.name = workers.name
        self.called = f"Deployment {self.name}"
        self.labels = f"{WORKERS_LABEL}={self.name}"
        self._next_look, self._was_missing = time.monotonic() + OFFER_SECONDS, False

    def begin(self) -> None:
        """Offers the job to pods that are there, and has more made where these are too few."""
        self._queue.offer(self._job)
        self._scale_up(self._cluster.get(DEPLOYMENTS, self.name))

    def end_seen(self, there: Sequence[Manifest]) -> JobEnd | None:
        """None as long as the job is offered: what somebody removed or scaled down beside the job is made again."""
        found = next((one for one in there if one["metadata"]["name"] == self.name), None)
        if found is None or _replicas(found) < self._wanted:
            # What is watched may be of the moment before.
            self._scale_up(self._cluster.get(DEPLOYMENTS, self.name))
        return None if self._is_offered() else NOT_OFFERED

    def _is_offered(self) -> bool:
        """Whether pods are told of the job, by a look now and then: without that they would not work for it, and nothing else says so.

        Twice in a row: of a job that was ended, and taken from the queue for that, its driver hears from the record in between.
        """
        if time.monotonic() < self._next_look:
            return True
        self._next_look = time.monotonic() + OFFER_SECONDS
        is_missing = not self._queue.has(self._job)
        was_missing, self._was_missing = self._was_missing, is_missing
        return not (is_missing and was_missing)

    def remove(self) -> None:
        """Has pods leave the job, within about a second; they stay."""
        self._queue.remove(self._job)

    def _scale_up(self, there: Manifest | None) -> None:
        if there is None:
            make_deployment(self._cluster, self._workers, self._wanted)
        elif not is_going(there) and _replicas(there) < self._wanted:
            self._cluster.patch(DEPLOYMENTS, self.name, {"spec": {"replicas": self._wanted}})


def make_deployment(cluster: Cluster, workers: StayingWorkers, replicas: int) -> None:
    """Makes the Deployment, and the copies of secrets, which it owns; somebody else may do so at the same time.

    Raises:
        InvalidError: `pod-refused`.
    """
    manifest = workers.pods.deployment(replicas)
    for copy in workers.copies:
        # Of a Deployment of this name that is gone, with which it would go.
        cluster.delete(SECRETS, copy["metadata"]["name"])
        cluster.create(SECRETS, copy)
    made = cluster.create(DEPLOYMENTS, manifest) or cluster.get(DEPLOYMENTS, workers.name)
    if made is None:
        return
    for copy in workers.copies:
        # One that somebody else replaces at this moment, who says the same of it.
        with contextlib.suppress(NotFoundError):
            cluster.patch(SECRETS, copy["metadata"]["name"], owned_by(manifest, made))


def _replicas(deployment: Manifest) -> int:
    return int(deployment["spec"].get("replicas", 1))
