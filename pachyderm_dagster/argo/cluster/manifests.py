"""The manifest of a workflow's pod, from what the engine asks for: pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.argo.cluster.area import Order
from pachyderm_dagster.argo.cluster.layout import BIN, IN, PACH, RUN, SCRIPT_NAME
from pachyderm_dagster.argo.cluster.names import NODE_ANNOTATION, POD_ANNOTATION, TRY_ANNOTATION, RunNames
from pachyderm_dagster.argo.cluster.volumes import check_variables, environment_fields, mount_fields, volumes_of
from pachyderm_dagster.argo.containers import ClaimTemplate, Container, Script, SetContainer, UserContainer, VolumeMount
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.local_pod import SCRIPT
from pachyderm_dagster.argo.merging import merged
from pachyderm_dagster.argo.outputs import MAIN, has_main
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.settings import KubernetesSettings

BEGIN, SAVE, VOLUME = "pachyderm-begin", "pachyderm-save", "pachyderm"
"""Containers of ours, and their volume."""
BELOW = "/mainctrfs"
"""Where `begin` sees the volumes of the main container, to put artifacts into them."""
_PYTHON = ("python", "-P", "-m")
_NOT_OF_PODS = ("env", "envFrom", "volumeMounts", "source", "dependencies", "mirrorVolumeMounts", "name", "command", "args")
# The only image whose program is known here that everybody's examples use without naming it.
_ENTRYPOINTS: Mapping[str, tuple[str, ...]] = {"argosay": ("/argosay",)}


@dataclass(frozen=True, slots=True)
class Making:
    """What the pods of a run are made with.

    Args:
        store_url: of the home's store.
    """

    names: RunNames
    settings: KubernetesSettings
    store_url: str


def main_names(template: Template) -> tuple[str, ...]:
    """The names of the containers whose ends are the pod's."""
    return (MAIN,) if template.container_set is None else tuple(one.name for one in template.container_set.containers)


def gives(pod: Pod) -> bool:
    """Whether there is anything to take from the pod when it has ended."""
    outputs = pod.template.outputs
    return has_main(pod) and (pod.keeps_result or bool(outputs.artifacts) or any(one.value_from is not None for one in outputs.parameters))


def needs_order(pod: Pod, order: Order) -> bool:
    """Whether the pod has containers of ours."""
    return gives(pod) or bool(order.given) or order.script is not None or pod.template.container_set is not None


def pod_manifest(pod: Pod, number: int, order: Order, folder: str, making: Making) -> Manifest:
    """The pod of a node, in a try.

    Args:
        order: what goes into it, and is wanted of it.
        folder: of its area in the store.

    Raises:
        InvalidError: `image-unknown`, `variable-not-handed-on`, `pod-patch-invalid`.
        NotFoundError: `volume-not-found`.
    """
    names, template = making.names, pod.template
    own = {NODE_ANNOTATION: pod.node, POD_ANNOTATION: pod.name, TRY_ANNOTATION: str(number)}
    metadata = {
        **names.metadata,
        "name": names.pod(pod.name),
        "namespace": making.settings.namespace,
        "labels": {**pod.labels, **names.labels},
        "annotations": {**pod.annotations, **names.annotations, **own},
    }
    containers = _Containers(pod, order, folder, making)
    spec: Manifest = {
        "serviceAccountName": making.settings.service_account,
        **pod.pod_spec,
        "restartPolicy": "Never",
        "initContainers": [*containers.of_ours(), *(containers.beside(one) for one in template.init_containers)],
        "containers": [*(containers.main(one) for one in template.containers), *(containers.beside(one) for one in template.sidecars)],
        "volumes": [*volumes_of(pod, names), *([{"name": VOLUME, "emptyDir": {}}] if needs_order(pod, order) else [])],
    }
    if template.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = max(1, int(to_seconds(template.active_deadline_seconds)))
    for patch in pod.pod_spec_patches:
        spec = merged(spec, _patch(patch))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {name: value for name, value in spec.items() if value != []}}


def claim_manifests(templates: Iterable[ClaimTemplate], names: RunNames) -> list[Manifest]:
    """The claims of a run."""
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": names.claim(one.metadata.name), **names.metadata},
            "spec": one.spec,
        }
        for one in templates
    ]


def _patch(text: str) -> Manifest:
    found = [document for document, _ in read_documents(text, "podSpecPatch")]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise InvalidError("pod-patch-invalid", 'the podSpecPatch is no object; write fields of a pod\'s spec, as in \'{"nodeName": "a"}\'')
    patch: Manifest = found[0]
    return patch


class _Containers:
    def __init__(self, pod: Pod, order: Order, folder: str, making: Making) -> None:
        self._pod, self._order, self._folder, self._making = pod, order, folder, making
        self._claims = pod.claims

    def of_ours(self) -> list[Manifest]:
        """Those that come first."""
        if not needs_order(self._pod, self._order):
            return []
        begin = self._own(BEGIN, "begin")
        if any(given.target for given in self._order.given):
            mounts = mount_fields(main_mounts(self._pod.template), self._pod.volumes, self._claims)
            begin["volumeMounts"] += [{**mount, "mountPath": BELOW + mount["mountPath"]} for mount in mounts]
        return [begin, {**self._own(SAVE, "save"), "restartPolicy": "Always"}] if gives(self._pod) else [begin]

    def _own(self, name: str, module: str) -> Manifest:
        settings = self._making.settings
        container: Manifest = {
            "name": name,
            "image": settings.worker_image,
            "imagePullPolicy": settings.pull_policy,
            "command": [*_PYTHON, f"pachyderm_dagster.argo.cluster.{module}", self._making.store_url, self._folder],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
            "volumeMounts": [{"name": VOLUME, "mountPath": PACH}],
        }
        return {**container, **({"envFrom": [{"secretRef": {"name": settings.storage_secret}}]} if settings.storage_secret else {})}

    def main(self, container: Container) -> Manifest:
        """One of those whose ends are the pod's."""
        name = container.name if isinstance(container, SetContainer) else MAIN
        mounts = {mount.mount_path: mount for mount in (*_set_mounts(self._pod.template), *container.volume_mounts)}
        is_script = isinstance(container, Script) and bool(container.source)
        fields = self._fields(container, name, mounts)
        command, args = container.command, (*container.args, *((SCRIPT,) if is_script else ()))
        if is_script and not command:
            fields["args"] = list(args)
        if self._is_wrapped(container):
            check_variables(container)
            fields |= {"command": [f"{PACH}/{BIN}/busybox", "sh", f"{PACH}/{BIN}/run"], "args": [*self._words(container, name), *_program(container, args)]}
            fields["volumeMounts"] += [_own_mount(f"{PACH}/{BIN}", BIN, read_only=True), _own_mount(f"{PACH}/{RUN}", RUN)]
        else:
            fields |= {key: list(words) for key, words in (("command", command), ("args", args)) if words}
        if is_script:
            fields["volumeMounts"].append(_own_mount(SCRIPT, f"{IN}/{SCRIPT_NAME}"))
        fields["volumeMounts"] += self._artifact_mounts()
        return fields

    def beside(self, container: UserContainer) -> Manifest:
        """One that comes before the main ones, or runs beside them."""
        mounts = {mount.mount_path: mount for mount in container.volume_mounts}
        if container.mirror_volume_mounts:
            mounts = {mount.mount_path: mount for mount in main_mounts(self._pod.template)} | mounts
        fields = self._fields(container, container.name, mounts)
        fields |= {key: list(words) for key, words in (("command", container.command), ("args", container.args)) if words}
        if container.mirror_volume_mounts:
            fields["volumeMounts"] += self._artifact_mounts()
        return fields

    def _fields(self, container: Container, name: str, mounts: Mapping[str, VolumeMount]) -> Manifest:
        document: Manifest = msgspec.to_builtins(container)
        plain = {key: value for key, value in document.items() if key not in _NOT_OF_PODS}
        found = {"name": name, "imagePullPolicy": self._making.settings.pull_policy, **plain, **environment_fields(container, self._pod, self._making.names)}
        return {**found, "volumeMounts": mount_fields(mounts.values(), self._pod.volumes, self._claims)}

    def _artifact_mounts(self) -> list[Manifest]:
        return [_own_mount(given.artifact.path, f"{IN}/{given.name}") for given in self._order.given if not given.target]

    def _is_wrapped(self, container: Container) -> bool:
        return isinstance(container, SetContainer) or gives(self._pod)

    def _words(self, container: Container, name: str) -> list[str]:
        retries, pause, after = "0", "0", ""
        if isinstance(container, SetContainer):
            assert self._pod.template.container_set is not None
            strategy = self._pod.template.container_set.retry_strategy
            retries = str(int(strategy.retries)) if strategy else "0"
            pause = str(to_seconds(strategy.duration)) if strategy and strategy.duration else "0"
            after = " ".join(container.dependencies)
        return [name, "yes" if self._order.keeps_result and name == MAIN else "no", retries, pause, after]


def _own_mount(path: str, folder: str, *, read_only: bool = False) -> Manifest:
    return {"name": VOLUME, "mountPath": path, "subPath": folder, **({"readOnly": True} if read_only else {})}


def _set_mounts(template: Template) -> tuple[VolumeMount, ...]:
    return () if template.container_set is None else template.container_set.volume_mounts


def main_mounts(template: Template) -> tuple[VolumeMount, ...]:
    """What the main containers mount, the last one at each path."""
    own = (mount for one in template.containers for mount in one.volume_mounts)
    return tuple({mount.mount_path: mount for mount in (*_set_mounts(template), *own)}.values())


def _program(container: Container, args: tuple[str, ...]) -> tuple[str, ...]:
    """The program of a container with its arguments.

    Raises:
        InvalidError: `image-unknown`.
    """
    command = container.command or _ENTRYPOINTS.get(container.image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0])
    if not command:
        problem = f"there is no 'command', and what the image {container.image!r} runs is not known before it runs"
        raise InvalidError("image-unknown", f"{problem}; write 'command', or take no outputs from the container")
    return (*command, *args)
