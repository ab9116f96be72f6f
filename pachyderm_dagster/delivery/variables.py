"""A variable in a Deployment: where it is, what it is, and the patch that makes it something else."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from pachyderm_dagster.errors import InvalidError

Manifest: TypeAlias = dict[str, Any]
Entry: TypeAlias = dict[str, Any]
"""A variable as a container has it: its name, and a value or where that comes from."""
BEFORE = "pachyderm-dagster/before"
"""The annotation that keeps what a delivery replaced, so that another process can go back to it."""


def find_container(deployment: Manifest, env: str, wanted: str | None) -> Manifest:
    """The container that gets the variable: the one of that name, the only one, or the only one that has the variable.

    Raises:
        InvalidError: `container-unknown`.
    """
    containers: list[Manifest] = deployment["spec"]["template"]["spec"]["containers"]
    fitting = [one for one in containers if (one["name"] == wanted if wanted else len(containers) == 1 or find_entry(one, env) is not None)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(f"'{one['name']}'" for one in containers)
    problem = f"has no container '{wanted}'" if wanted else f"has several containers, and {'more than one has' if fitting else 'none has'} the variable {env}"
    raise InvalidError("container-unknown", f"Deployment '{deployment['metadata']['name']}' {problem}; name one of {names}")


def find_entry(container: Manifest, env: str) -> Entry | None:
    """The variable of a container; the last of that name counts, as for Kubernetes."""
    return next((entry for entry in reversed(container.get("env", [])) if entry["name"] == env), None)


def value_of(entry: Entry | None) -> str | None:
    """The value that the Deployment itself gives a variable; None when there is none, or it comes from elsewhere."""
    return None if entry is None or "valueFrom" in entry else str(entry.get("value", ""))


def delivery_patch(deployment: Manifest, container: str, env: str, value: str, before: Entry | None) -> Manifest:
    """The strategic merge patch that sets the variable, and keeps what was there before. It holds for this version of the Deployment only."""
    kept = {"container": container, "env": env, "value": value, "entry": before}
    return _patch(deployment, container, {"name": env, "value": value, "valueFrom": None}, {BEFORE: json.dumps(kept)})


def restoring_patch(deployment: Manifest, container: str, env: str, before: Entry | None) -> Manifest:
    """The patch that makes the variable what it was."""
    back = {"name": env, "$patch": "delete"} if before is None else {"value": None, "valueFrom": None, **before}
    return _patch(deployment, container, back, {BEFORE: None})


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a delivery replaced. `entry`: None for no variable at all; `is_served`: whether all pods have had the new value since."""

    entry: Entry | None
    is_served: bool


def find_replaced(deployment: Manifest, container: str, env: str, value: str) -> Replaced | None:
    """What the delivery of this very value replaced; None when that is not known."""
    kept = _kept(deployment)
    if (kept.get("container"), kept.get("env"), kept.get("value")) != (container, env, value):
        return None
    return Replaced(kept.get("entry"), kept.get("served") is True)


def served_patch(deployment: Manifest) -> Manifest:
    """The patch that notes that all pods have the value of the last delivery. It starts no rollout."""
    return _annotating(deployment, {BEFORE: json.dumps({**_kept(deployment), "served": True})})


def _kept(deployment: Manifest) -> dict[str, Any]:
    try:
        kept = json.loads(deployment["metadata"].get("annotations", {}).get(BEFORE, "null"))
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _patch(deployment: Manifest, container: str, entry: Entry, annotations: dict[str, str | None]) -> Manifest:
    return {**_annotating(deployment, annotations), "spec": {"template": {"spec": {"containers": [{"name": container, "env": [entry]}]}}}}


def _annotating(deployment: Manifest, annotations: dict[str, str | None]) -> Manifest:
    return {"metadata": {"resourceVersion": deployment["metadata"]["resourceVersion"], "annotations": annotations}}
