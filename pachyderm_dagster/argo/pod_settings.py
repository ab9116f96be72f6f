"""The environment of a pod of this machine, from what its template, its workflow, ConfigMaps and Secrets say."""

import platform
import re
from collections.abc import Mapping

import msgspec

from pachyderm_dagster.argo.containers import Container, EnvFrom
from pachyderm_dagster.argo.parameters import KeyRef
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.readiness import ADDRESS
from pachyderm_dagster.errors import InvalidError, NotFoundError

_ONE = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<name>[^']+)'\]")
Values = Mapping[str, Mapping[str, str]]


def environment_of(pod: Pod, container: Container) -> dict[str, str]:
    """The variables of a container.

    Raises:
        NotFoundError: `config-map-not-found`, `workflow-secret-not-found`.
        InvalidError: `field-unknown`.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        for named, values, is_secret in ((source.config_map_ref, pod.config_maps, False), (source.secret_ref, pod.secrets, True)):
            if named is not None:
                all_values = values.get(named.name)
                if all_values is None and not named.optional:
                    raise values_missing(named.name, is_secret=is_secret)
                found |= {source.prefix + key: value for key, value in (all_values or {}).items()}
    for variable in container.env:
        value = variable.value or ""
        if variable.value_from is not None:
            given = _value_from(variable.value_from, pod)
            if given is None:
                continue
            value = given
        found[variable.name] = value
    return found


def _value_from(source: EnvFrom, pod: Pod) -> str | None:
    if source.field_ref is not None:
        return field_of(pod, source.field_ref.field_path)
    of_config = _value(source.config_map_key_ref, pod.config_maps, is_secret=False)
    return of_config if of_config is not None else _value(source.secret_key_ref, pod.secrets, is_secret=True)


def field_of(pod: Pod, path: str) -> str:
    """What a pod knows of itself: a field of it, as Kubernetes names it.

    Raises:
        InvalidError: `field-unknown`.
    """
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.labels": _lines(pod.labels),
        "metadata.annotations": _lines(pod.annotations),
        "spec.nodeName": platform.node(),
        "spec.serviceAccountName": str(pod.pod_spec.get("serviceAccountName") or "default"),
        **dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), ADDRESS),
    }
    one = _ONE.fullmatch(path)
    if one is not None:
        return (pod.labels if one["map"] == "labels" else pod.annotations).get(one["name"], "")
    if path not in known:
        raise InvalidError("field-unknown", f"a pod of this machine knows no {path!r} of itself; it knows {', '.join(known)}, and one label or annotation")
    return known[path]


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={msgspec.json.encode(value).decode()}\n" for name, value in sorted(values.items())).removesuffix("\n")


def _value(reference: KeyRef | None, values: Values, *, is_secret: bool) -> str | None:
    if reference is None:
        return None
    found = values.get(reference.name, {}).get(reference.key)
    if found is None and not reference.optional:
        raise values_missing(reference.name, is_secret=is_secret, key=reference.key)
    return found


def values_missing(name: str, *, is_secret: bool, key: str = "") -> NotFoundError:
    """The error of a ConfigMap or Secret that is in none of the files, or of a key of one."""
    wanted = f"{key!r} of " if key else ""
    if is_secret:
        return NotFoundError("workflow-secret-not-found", f"{wanted}the Secret {name!r} is in none of the files; give the file that it is in too")
    return NotFoundError("config-map-not-found", f"{wanted}the ConfigMap {name!r} is in none of the files; give the file that it is in too")
