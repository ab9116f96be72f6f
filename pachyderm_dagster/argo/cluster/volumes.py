"""Volumes and environments of pods, as Kubernetes takes them: what the files of a workflow brought along is named by its copies."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pachyderm_dagster.argo.cluster.names import RunNames
from pachyderm_dagster.argo.containers import Container, Volume, VolumeMount
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.executors.kubernetes.patches import Manifest

CONFIG_MAP, SECRET = "config-map", "secret"
_TO_CONFIG_MAPS, _TO_SECRETS = {"configMap", "configMapRef", "configMapKeyRef"}, {"secret", "secretRef", "secretKeyRef"}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def volumes_of(pod: Pod, names: RunNames) -> list[Manifest]:
    """The volumes of a pod, its claims among them."""
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": names.claim(name)}} for name in sorted(pod.claims)]
    own = [_renamed(msgspec.to_builtins(volume), pod, names) for volume in pod.volumes if volume.name not in pod.claims]
    return [*claims, *own]


def environment_fields(container: Container, pod: Pod, names: RunNames) -> Manifest:
    """`env` and `envFrom` of a container."""
    found = {"env": [msgspec.to_builtins(one) for one in container.env], "envFrom": [msgspec.to_builtins(one) for one in container.env_from]}
    return {name: [_renamed(one, pod, names) for one in listed] for name, listed in found.items() if listed}


def _renamed(found: Any, pod: Pod, names: RunNames) -> Any:
    """An item in which references to ConfigMaps and Secrets of the files go to their copies."""
    if isinstance(found, list | tuple):
        return [_renamed(one, pod, names) for one in found]
    if not isinstance(found, dict):
        return found
    renamed = {name: _renamed(value, pod, names) for name, value in found.items()}
    for fields, kind, there in ((_TO_CONFIG_MAPS, CONFIG_MAP, pod.config_maps), (_TO_SECRETS, SECRET, pod.secrets)):
        for field in fields & renamed.keys():
            reference = renamed[field]
            for key in ("name", "secretName"):
                if isinstance(reference, dict) and reference.get(key) in there:
                    renamed[field] = {**reference, key: names.object_name(kind, reference[key])}
    return renamed


def copies_of(pod: Pod, names: RunNames, wanted: Iterable[Manifest]) -> list[tuple[str, Manifest]]:
    """The copies that parts of a pod name, each with the kind of its object."""
    text = msgspec.json.encode(list(wanted)).decode()
    found: list[tuple[str, Manifest]] = []
    for kind, objects, there in ((CONFIG_MAP, "configmaps", pod.config_maps), (SECRET, "secrets", pod.secrets)):
        for name, data in there.items():
            called = names.object_name(kind, name)
            if f'"{called}"' in text:
                metadata = {"name": called, **names.metadata}
                found.append(
                    (objects, {"apiVersion": "v1", "kind": "Secret" if kind == SECRET else "ConfigMap", "metadata": metadata, "data": _data(kind, data)})
                )
    return found


def _data(kind: str, data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()} if kind == SECRET else dict(data)


def mount_fields(mounts: Iterable[VolumeMount], volumes: Iterable[Volume], claims: Iterable[str]) -> list[Manifest]:
    """`volumeMounts` of a container.

    Raises:
        NotFoundError: `volume-not-found`.
    """
    known = {volume.name for volume in volumes} | set(claims)
    found = []
    for mount in mounts:
        if mount.name not in known:
            raise NotFoundError(
                "volume-not-found", f"the container mounts the volume {mount.name!r}, which is not among those that there are; add it to 'volumes'"
            )
        found.append(msgspec.to_builtins(mount))
    return found


def check_variables(container: Container) -> None:
    """What the shell that runs a program for its outputs cannot hand on.

    Raises:
        InvalidError: `variable-not-handed-on`.
    """
    for variable in container.env:
        if not _IDENTIFIER.fullmatch(variable.name):
            problem = f"the variable {variable.name!r} has a name that no shell hands on, and a shell takes the outputs of this container"
            raise InvalidError("variable-not-handed-on", f"{problem}; write it with letters, digits and '_', or take no outputs")
