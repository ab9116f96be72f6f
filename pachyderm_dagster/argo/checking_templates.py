"""What is wrong with a single template, apart from what it names: told with path and line."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pachyderm_dagster.argo.containers import Container, ContainerSet
from pachyderm_dagster.argo.parameters import Inputs, Outputs
from pachyderm_dagster.argo.readiness import probe_of
from pachyderm_dagster.argo.resource_flags import parse_flags
from pachyderm_dagster.argo.resources import ACTIONS, MERGES
from pachyderm_dagster.argo.retrying import POLICIES
from pachyderm_dagster.argo.templates import LEAVES, Resource, RetryStrategy, Template
from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.pps.strict import Place

TAG = "{{"
_SOURCES = {"path": "path", "parameter": "parameter", "expression": "expression", "supplied": "supplied", "jsonPath": "json_path", "jqFilter": "jq_filter"}
_OF_KIND = {"suspend": ("supplied",), "resource": ("jsonPath", "jqFilter")}
_OWN_NAMES = ("main", "init", "wait")
WHERE = " and ".join((", ".join(LEAVES[:-1]), LEAVES[-1]))


def check_fields_of_kind(template: Template, place: Place) -> None:
    """A template has no fields of other kinds. Raises `spec-invalid`, as everything here."""
    is_leaf, is_flow = template.kind in LEAVES, template.kind in ("steps", "dag")
    for field, name, belongs, where in (
        ("parallelism", "parallelism", is_flow, "steps and dag"),
        ("fail_fast", "failFast", is_flow, "steps and dag"),
        ("active_deadline_seconds", "activeDeadlineSeconds", is_leaf, WHERE),
        ("timeout", "timeout", is_leaf, WHERE),
        ("daemon", "daemon", is_leaf, WHERE),
        ("volumes", "volumes", is_leaf, WHERE),
        ("init_containers", "initContainers", is_leaf, WHERE),
        ("sidecars", "sidecars", is_leaf, WHERE),
    ):
        if getattr(template, field) and not belongs:
            raise place.field(name).invalid(f"it belongs to {where}; this template is {template.kind}")
    if template.timeout and TAG not in template.timeout:
        told(place.field("timeout"), lambda: parse_duration(seconds_or_duration(template.timeout)))


def seconds_or_duration(text: str) -> str | float:
    """A text that is a number of seconds as one."""
    try:
        return float(text)
    except ValueError:
        return text


def check_resource(resource: Resource, inputs: Inputs, place: Place) -> None:
    """What is done with an object is something that is known, and so is the object."""
    for name, value, known in (("action", resource.action, ACTIONS), ("mergeStrategy", resource.merge_strategy, MERGES)):
        if value not in known and TAG not in value:
            raise place.field(name).invalid(f"expected {' or '.join(repr(one) for one in known if one)}, found {value!r}")
    if bool(resource.manifest) is (resource.manifest_from is not None):
        raise place.invalid("a resource has one of 'manifest' and 'manifestFrom'")
    artifact = resource.manifest_from.artifact.name if resource.manifest_from else None
    if artifact is not None and artifact not in (names := [one.name for one in inputs.artifacts]):
        there = ", ".join(map(repr, names)) or "none"
        raise place.field("manifestFrom").field("artifact").invalid(f"there is no input artifact {artifact!r}; there are: {there}")
    if not any(TAG in word for word in resource.flags):
        told(place.field("flags"), lambda: parse_flags(resource.flags))


def check_containers(template: Template, place: Place) -> None:
    """The containers of a pod have names of their own, and no path of theirs is taken twice."""
    if template.container_set is not None:
        _check_set(template.container_set, template, place.field("containerSet"))
    named = [*template.init_containers, *template.sidecars, *(template.container_set.containers if template.container_set else ())]
    names = Counter(one.name for one in named)
    for field, containers in (("initContainers", template.init_containers), ("sidecars", template.sidecars)):
        for index, container in enumerate(containers):
            _check_name(container.name, names, place.field(field).item(index), template)
    for main in template.containers:
        _check_mounts(main, template, place)
        probe = main.readiness_probe
        if template.daemon and probe is not None and TAG not in msgspec.json.encode(probe).decode():
            told(place.field(template.kind).field("readinessProbe"), lambda probe=probe: probe_of(probe))  # type: ignore[misc]


def _check_name(name: str, names: Mapping[str, int], place: Place, template: Template) -> None:
    here = place.field("name")
    if not name:
        raise here.invalid("required, but not given")
    if names[name] > 1 or (name in _OWN_NAMES and template.container_set is None):
        raise here.invalid(f"{name!r} is the name of another container of the pod; choose another one")
    if "/" in name or name.startswith("."):
        raise here.invalid(f"{name!r} is no name of a container; write it with letters, digits and '-'")


def _check_set(found: ContainerSet, template: Template, place: Place) -> None:
    here = place.field("containers")
    names = Counter(one.name for one in found.containers)
    if not names:
        raise here.invalid("a containerSet has at least one container")
    for index, container in enumerate(found.containers):
        _check_name(container.name, names, here.item(index), template)
        for needed in container.dependencies:
            if needed not in names:
                raise here.item(index).field("dependencies").invalid(f"there is no container {needed!r}; there are {', '.join(map(repr, names))}")
    if (cycle := find_cycle({one.name: list(one.dependencies) for one in found.containers})) is not None:
        raise here.invalid(f"containers depend on each other: {' -> '.join(cycle)}; remove one dependency")
    if "main" not in names and (template.outputs.parameters or template.outputs.artifacts):
        raise here.invalid("outputs are those of the container 'main', and there is none; call one so")
    if found.retry_strategy is not None and not found.retry_strategy.retries.isdigit():
        raise place.field("retryStrategy").field("retries").invalid(f"expected a whole number, 0 or more, found {found.retry_strategy.retries!r}")


def _check_mounts(container: Container, template: Template, place: Place) -> None:
    taken: dict[str, str] = {}
    for index, mount in enumerate(container.volume_mounts):
        here = place.field(template.kind).field("volumeMounts").item(index)
        _take(mount.mount_path, f"volumeMounts.{mount.name}", taken, here.field("mountPath"))
        if ".." in mount.sub_path.split("/") or mount.sub_path.startswith("/"):
            raise here.field("subPath").invalid(f"{mount.sub_path!r} leads out of the volume; name a folder inside")
    for index, artifact in enumerate(template.inputs.artifacts):
        _take(artifact.path, f"inputs.artifacts.{artifact.name}", taken, place.field("inputs").field("artifacts").item(index).field("path"))


def _take(path: str, what: str, taken: dict[str, str], place: Place) -> None:
    if path in taken and path:
        raise place.invalid(f"{path!r} is already mounted in {taken[path]}; choose another path")
    taken[path] = what


def check_paths(template: Template, place: Place) -> None:
    """The paths of artifacts are absolute, and each is that of one."""
    for field, artifacts in (("inputs", template.inputs.artifacts), ("outputs", template.outputs.artifacts)):
        here = place.field(field).field("artifacts")
        paths = Counter(one.path for one in artifacts if one.path)
        for index, one in enumerate(artifacts):
            if template.kind in LEAVES and not one.path:
                raise here.item(index).field("path").invalid("required, but not given")
            if template.kind not in (*LEAVES, "resource") and one.path:
                raise here.item(index).field("path").invalid(f"it belongs to {WHERE}; this template is {template.kind}")
            if one.path and TAG not in one.path and not one.path.startswith("/"):
                raise here.item(index).field("path").invalid(f"{one.path!r} is no absolute path")
            if paths[one.path] > 1:
                raise here.item(index).field("path").invalid(f"{one.path!r} is the path of another artifact too")


def check_outputs(outputs: Outputs, kind: str, place: Place) -> None:
    """Outputs come from where their template can have them."""
    here = place.field("parameters")
    if kind == "http" and (outputs.parameters or outputs.artifacts):
        raise place.unsupported("what a request gives is its result, `outputs.result`; take it apart in the step that uses it")
    for index, one in enumerate(outputs.parameters):
        at = here.item(index).field("valueFrom")
        value_from = one.value_from
        if value_from is None:
            if one.value is None:
                raise here.item(index).invalid("an output parameter has 'valueFrom'")
            continue
        found = [name for name, field in _SOURCES.items() if getattr(value_from, field) not in ("", None)]
        allowed = ("path",) if kind in LEAVES else _OF_KIND.get(kind, ("parameter", "expression"))
        if len(found) != 1 or found[0] not in allowed:
            raise at.invalid(f"in a template that is {kind} it has one of {', '.join(allowed)}; found {' and '.join(found) or 'none'}")
    for index, artifact in enumerate(outputs.artifacts):
        if kind not in LEAVES and not artifact.has_source:
            raise place.field("artifacts").item(index).invalid("an output artifact of steps and dag has 'from' or 'fromExpression'")
        if kind in LEAVES and artifact.git is not None:
            raise place.field("artifacts").item(index).field("git").invalid("nothing is stored in Git; store it in a bucket, or have the program push it")


def check_retry(strategy: RetryStrategy | None, place: Place) -> None:
    """The numbers and durations of a retry strategy are some."""
    if strategy is None:
        return
    here = place.field("retryStrategy")
    if strategy.retry_policy not in ("", *POLICIES):
        raise here.field("retryPolicy").invalid(f"expected {' or '.join(map(repr, POLICIES))}, found {strategy.retry_policy!r}")
    if strategy.limit is not None and TAG not in strategy.limit and not strategy.limit.isdigit():
        raise here.field("limit").invalid(f"expected a whole number, 0 or more, found {strategy.limit!r}")
    for field in msgspec.structs.fields(type(strategy.backoff)) if strategy.backoff else ():
        value = getattr(strategy.backoff, field.name)
        if value is not None and TAG not in value:
            told(here.field("backoff").field(field.encode_name), lambda value=value: parse_duration(seconds_or_duration(value)))  # type: ignore[misc]


def find_cycle(needs: dict[str, list[str]]) -> list[str] | None:
    """A way through a graph that comes back to where it began, or None."""
    done: set[str] = set()
    for start in needs:
        path, waiting = [start], [iter(needs[start])]
        while waiting and start not in done:
            following = next((name for name in waiting[-1] if name not in done), None)
            if following is None:
                done.add(path.pop())
                waiting.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                path.append(following)
                waiting.append(iter(needs[following]))
    return None


def told(place: Place, act: Callable[[], Any]) -> Any:
    """What `act` returns; what it raises is told with the place."""
    try:
        return act()
    except InvalidError as error:
        raise error if error.code.startswith("spec-") else place.invalid(error.message) from error
    except PachydermError as error:
        raise place.invalid(error.message) from error
