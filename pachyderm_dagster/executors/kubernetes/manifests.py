"""The manifests of pods, and of the Jobs and Deployments of datums, from what a pipeline says of pods: pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.kubernetes.commands import PACH, Commands, leave_command
from pachyderm_dagster.executors.kubernetes.names import WORKERS_LABEL, Names
from pachyderm_dagster.executors.kubernetes.patches import Manifest, patched_pod
from pachyderm_dagster.pps.pods import Resources, TaintEffect, Toleration
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.storage.storage_urls import CREDENTIALS_FOLDER

USER, WORKER, STARTER = "user", "worker", "starter"
"""The containers."""
VOLUME = "pach"
CREDENTIALS_VOLUME, CREDENTIALS = "store-credentials", "/var/run/pachyderm-dagster/store-credentials"
"""The Secret of the store, for the worker alone."""
REPLACED_PODS = 6
"""So often a pod of an index is replaced that ended by itself."""
FINISHED_SECONDS = 300
"""How long a Job that ended stays, whose driver is not there to remove it."""
DEADLINE_SLACK_SECONDS = 600
"""The driver ends a job that takes too long; this much later the cluster does, where there is none."""
GRACE_SECONDS = 10
PROBE_SECONDS = 2
"""Between looks whether the port of a service is open."""
_OURS = (("containers", USER), ("initContainers", STARTER), ("initContainers", WORKER))
"""Without one of them datums would wait for ever."""
_MOST_USER_NUMBER = 2**31 - 1
_EFFECTS = {TaintEffect.NO_SCHEDULE: "NoSchedule", TaintEffect.PREFER_NO_SCHEDULE: "PreferNoSchedule", TaintEffect.NO_EXECUTE: "NoExecute"}


@dataclass(frozen=True, slots=True)
class Life:
    """How user code that stays begins and ends.

    Attributes:
        port: with which it is ready when it is open; None: when it runs.
        drain: seconds that it goes on when its pod is to go.
        grace: seconds between SIGTERM and the end.
    """

    port: int | None
    drain: int
    grace: int


@dataclass(frozen=True, slots=True)
class Pods:
    """What the pods of one job, of the workers that stay for a pipeline, or of code that stays are made from.

    Args:
        secrets: what the secrets that the specification names are called on the cluster.
        life: of code that stays.
    """

    names: Names
    spec: PipelineSpec
    settings: KubernetesSettings
    commands: Commands
    secrets: Mapping[str, str]
    life: Life | None = None

    def job(self, workers: int) -> Manifest:
        """The Job with so many pods.

        Raises:
            InvalidError: `pod-patch-invalid`, `user-not-number`.
        """
        spec: Manifest = {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimitPerIndex": REPLACED_PODS,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": FINISHED_SECONDS,
            "podFailurePolicy": {"rules": self._failure_rules()},
            # The Job controller takes no other policy, and replaces pods as the Job says.
            "template": self.template("Never"),
        }
        if self.spec.job_timeout is not None:
            spec["activeDeadlineSeconds"] = int(self.spec.job_timeout) + DEADLINE_SLACK_SECONDS
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": self.metadata, "spec": spec}

    def deployment(self, workers: int) -> Manifest:
        """The Deployment with so many pods. Raises as `job`."""
        spec: Manifest = {
            "replicas": workers,
            "selector": {"matchLabels": {WORKERS_LABEL: self.names.labels[WORKERS_LABEL]}},
            # The template never changes.
            "revisionHistoryLimit": 0,
            "template": self.template("Always"),
        }
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata, "spec": spec}

    def template(self, restart_policy: str) -> Manifest:
        """Of pods. Raises as `job`."""
        metadata = self.metadata
        return {"metadata": {key: metadata[key] for key in ("labels", "annotations")}, "spec": {**self._patched_pod(), "restartPolicy": restart_policy}}

    @property
    def metadata(self) -> Manifest:
        """Of what makes the pods; they have the labels and annotations too."""
        of_user = self.spec.metadata
        return {
            "name": self.names.name,
            "namespace": self.settings.namespace,
            "labels": {**({} if of_user is None else of_user.labels), **self.names.labels},
            "annotations": {**({} if of_user is None else of_user.annotations), **self.names.annotations},
        }

    def _failure_rules(self) -> list[Manifest]:
        return [
            # A node that goes, or a pod that must make room, says nothing about its datum, however often it happens.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": USER, "operator": "In", "values": [self.commands.refused]}},
        ]

    def _patched_pod(self) -> Manifest:
        pod = patched_pod(self._pod(), pod_spec=self.spec.pod_spec, pod_patch=self.spec.pod_patch)
        for place, name in _OURS:
            if name not in _names(pod.get(place)):
                problem = f"after pod_spec and pod_patch the pod has no '{name}' in its {place}; change it, but keep it and its name"
                raise InvalidError("pod-patch-invalid", f"{problem}: pod_spec replaces a whole list, and pod_patch adds to it at '/{place}/-'")
        if pod.get("shareProcessNamespace"):
            problem = "the pod has shareProcessNamespace, with which what a command leaves running could not be ended"
            raise InvalidError("pod-patch-invalid", f"{problem}; take it out of pod_spec and pod_patch")
        return pod

    def _pod(self) -> Manifest:
        spec = self.spec
        pod: Manifest = {
            "serviceAccountName": self.settings.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS + (0 if self.life is None else self.life.drain + self.life.grace),
            "initContainers": [self._starter(), self._worker()],
            "containers": [self._user()],
            "volumes": [{"name": VOLUME, "emptyDir": self._empty_dir()}, *self._secret_volumes(), *self._credentials()],
        }
        scheduling = spec.scheduling_spec
        if scheduling is not None and scheduling.node_selector:
            pod["nodeSelector"] = dict(scheduling.node_selector)
        if scheduling is not None and scheduling.priority_class_name:
            pod["priorityClassName"] = scheduling.priority_class_name
        if spec.tolerations:
            pod["tolerations"] = [_toleration(one) for one in spec.tolerations]
        if spec.transform.image_pull_secrets:
            pod["imagePullSecrets"] = [{"name": name} for name in spec.transform.image_pull_secrets]
        return pod

    def _starter(self) -> Manifest:
        return {
            "name": STARTER,
            "image": self.settings.worker_image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": list(self.commands.starter),
            # What it wrote last is why it failed.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {"runAsUser": 0},
            "volumeMounts": [{"name": VOLUME, "mountPath": PACH}],
        }

    def _worker(self) -> Manifest:
        container: Manifest = {
            "name": WORKER,
            "image": self.settings.worker_image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": list(self.commands.worker),
            "restartPolicy": "Always",
            "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
            "securityContext": {"runAsUser": 0},
            "volumeMounts": [_mount(path, folder) for path, folder in self.commands.worker_folders.items()],
        }
        if self.settings.storage_secret:
            container["envFrom"] = [{"secretRef": {"name": self.settings.storage_secret}}]
            # As files too, which the kubelet writes anew when the Secret is renewed: variables stay as they were.
            container["env"].append({"name": CREDENTIALS_FOLDER, "value": CREDENTIALS})
            container["volumeMounts"].append({"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS, "readOnly": True})
        return _with_resources(container, self.spec.sidecar_resource_requests, self.spec.sidecar_resource_limits)

    def _user(self) -> Manifest:
        transform = self.spec.transform
        container: Manifest = {
            "name": USER,
            "image": transform.image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": list(self.commands.user),
            "volumeMounts": [_mount(path, folder, read_only=path in self.commands.read_only) for path, folder in self.commands.user_folders.items()],
        }
        for use in transform.secrets:
            name = self.secrets[use.name]
            if use.env_var:
                container.setdefault("env", []).append({"name": use.env_var, "valueFrom": {"secretKeyRef": {"name": name, "key": use.key}}})
            if use.mount_path:
                container["volumeMounts"].append({"name": self._volume_of(use.name), "mountPath": use.mount_path, "readOnly": True})
        if self.spec.spout is not None and self.settings.spout_secret:
            # Its code is a client of the home.
            container["envFrom"] = [{"secretRef": {"name": self.settings.spout_secret}}]
        if self.life is not None:
            container |= _lifecycle(self.life)
        if transform.user:
            container["securityContext"] = {"runAsUser": _user_number(transform.user)}
        return _with_resources(container, self.spec.resource_requests, self.spec.resource_limits)

    def _empty_dir(self) -> Manifest:
        limits = self.spec.resource_limits
        volume: Manifest = {"medium": "Memory"} if self.spec.transform.memory_volume else {}
        return {**volume, **({"sizeLimit": limits.disk} if limits is not None and limits.disk else {})}

    def _secret_volumes(self) -> list[Manifest]:
        mounted = dict.fromkeys(use.name for use in self.spec.transform.secrets if use.mount_path)
        return [{"name": self._volume_of(name), "secret": {"secretName": self.secrets[name]}} for name in mounted]

    def _credentials(self) -> list[Manifest]:
        secret = self.settings.storage_secret
        return [{"name": CREDENTIALS_VOLUME, "secret": {"secretName": secret, "defaultMode": 0o400}}] if secret else []

    def _volume_of(self, secret: str) -> str:
        used = list(dict.fromkeys(use.name for use in self.spec.transform.secrets))
        return f"secret-{used.index(secret)}"


def _names(containers: Any) -> list[Any]:
    return [one.get("name") for one in containers if isinstance(one, dict)] if isinstance(containers, list) else []


def _lifecycle(life: Life) -> Manifest:
    leave = {"lifecycle": {"preStop": {"exec": {"command": list(leave_command(life.drain, life.grace))}}}}
    if life.port is None:
        return leave
    return {**leave, "readinessProbe": {"tcpSocket": {"port": life.port}, "periodSeconds": PROBE_SECONDS}}


def _mount(path: str, folder: str, *, read_only: bool = False) -> Manifest:
    return {"name": VOLUME, "mountPath": path, **({"subPath": folder} if folder else {}), **({"readOnly": True} if read_only else {})}


def _with_resources(container: Manifest, requests: Resources | None, limits: Resources | None) -> Manifest:
    found = {kind: amounts for kind, said in (("requests", requests), ("limits", limits)) if said is not None and (amounts := _amounts(said))}
    for said in (requests, limits):
        if said is not None and said.gpu is not None and said.gpu.number:
            # A device cannot be shared: what is asked for is what is given.
            for kind in ("requests", "limits"):
                found.setdefault(kind, {})[said.gpu.type] = str(said.gpu.number)
    return {**container, **({"resources": found} if found else {})}


def _amounts(said: Resources) -> dict[str, str]:
    cpu = f"{round(said.cpu * 1000)}m" if said.cpu else ""
    amounts = {"cpu": cpu, "memory": said.memory, "ephemeral-storage": said.disk}
    return {name: amount for name, amount in amounts.items() if amount}


def _toleration(said: Toleration) -> Manifest:
    found: Manifest = {"operator": said.operator.value.capitalize()}
    if said.key:
        found["key"] = said.key
    if said.value:
        found["value"] = said.value
    if said.effect in _EFFECTS:
        found["effect"] = _EFFECTS[said.effect]
    if said.toleration_seconds is not None:
        found["tolerationSeconds"] = said.toleration_seconds
    return found


def _user_number(user: str) -> int:
    if user.isdecimal() and int(user) > _MOST_USER_NUMBER:
        raise InvalidError("user-not-number", f"transform.user is {user}, and on Kubernetes it is at most {_MOST_USER_NUMBER}; write a smaller one")
    if not user.isdecimal():
        problem = f"transform.user is {user!r}, and only the image knows the number of a name"
        raise InvalidError("user-not-number", f"{problem}; on Kubernetes write the number, or leave it out for the user of the image")
    return int(user)
