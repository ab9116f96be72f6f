"""A template that is called: what it gets, and what its tags stand for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from pachyderm_dagster.argo.go_values import json_text
from pachyderm_dagster.argo.library import Library, Owner
from pachyderm_dagster.argo.nodes import KeptArtifact, Node
from pachyderm_dagster.argo.parameters import Arguments, Artifact, Location, Parameter
from pachyderm_dagster.argo.tags import Scope, evaluate_in
from pachyderm_dagster.argo.templates import LEAVES, Template
from pachyderm_dagster.errors import InvalidError, NotFoundError


class DaemonKeeper(Protocol):
    """Who takes over pods that run on after their step is done."""

    def add(self, node: Node, running: "asyncio.Future[Node]") -> None:
        """Takes over one that is ready; `running` ends its node when it ends by itself."""
        ...

    def add_attempts(self, node: Node) -> None:
        """Takes over the node over the attempts of one."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A node that is to be run.

    Attributes:
        name, display_name: of the node.
        template: whose tags are as they were written.
        owner: where the templates are looked up that it names.
        parameters, artifacts: what it is given, by name.
        parent: the id of the node that it is below.
        keeps_result: whoever calls it wants what it prints.
        daemons: who takes over what runs on after its step.
        target: only this one of its steps or tasks is wanted, after what comes before it.
    """

    name: str
    display_name: str
    template: Template
    owner: Owner
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, KeptArtifact] = field(default_factory=dict)
    parent: str = ""
    keeps_result: bool = False
    daemons: DaemonKeeper | None = None
    target: str = ""

    def under(self, name: str, display_name: str, template: Template, parent: str) -> "Call":
        """The same for a node of its own, below another."""
        return replace(self, name=name, display_name=display_name, template=template, parent=parent)


def given_parameters(arguments: Arguments) -> dict[str, str]:
    """The parameters among arguments whose tags are replaced."""
    return {one.name: one.value for one in arguments.parameters if one.value is not None}


def given_artifacts(arguments: Arguments, scope: Scope) -> dict[str, KeptArtifact]:
    """The artifacts among arguments whose tags are replaced; those that come from nothing are left out. Errors as `resolve_artifact`."""
    found = {one.name: resolve_artifact(one, scope) for one in arguments.artifacts}
    return {name: kept for name, kept in found.items() if kept is not None}


def input_parameters(template: Template, given: Mapping[str, str], library: Library) -> dict[str, str]:
    """The value of every input parameter: what is given, else its own.

    Raises:
        InvalidError: `parameter-missing`, `parameter-invalid`.
        NotFoundError: `config-map-not-found`.
    """
    return {one.name: _input_value(one, given, library, template.name) for one in template.inputs.parameters}


def _input_value(parameter: Parameter, given: Mapping[str, str], library: Library, template: str) -> str:
    value = given.get(parameter.name)
    if value is None:
        value = parameter.value if parameter.value is not None else parameter.default
    if value is None and parameter.value_from is not None:
        value = config_value(parameter, library)
    if value is None and parameter.value_from is not None:
        value = parameter.value_from.default
    if value is None:
        raise InvalidError("parameter-missing", f"the template {template!r} needs the parameter {parameter.name!r}, which nobody gives; give it a value")
    if parameter.enum and value not in parameter.enum:
        allowed = ", ".join(map(repr, parameter.enum))
        raise InvalidError("parameter-invalid", f"the parameter {parameter.name!r} is {value!r}; it is to be one of {allowed}")
    return value


def config_value(parameter: Parameter, library: Library) -> str | None:
    """What a parameter takes from a ConfigMap; None where it takes nothing, or may do without.

    Raises:
        NotFoundError: `config-map-not-found`.
    """
    reference = parameter.value_from.config_map_key_ref if parameter.value_from else None
    if reference is None:
        return None
    value = library.config_maps.get(reference.name, {}).get(reference.key)
    has_default = parameter.value_from is not None and parameter.value_from.default is not None
    if value is None and not reference.optional and not has_default:
        message = f"the parameter {parameter.name!r} takes {reference.key!r} of the ConfigMap {reference.name!r}, which is in none of the files; give it"
        raise NotFoundError("config-map-not-found", message)
    return value


def resolve_artifact(artifact: Artifact, scope: Scope) -> KeptArtifact | None:
    """Which artifact one with replaced tags is; None when it says no source, or one that is not there.

    Raises:
        InvalidError: `artifact-invalid`.
    """
    if artifact.raw is not None:
        return KeptArtifact(raw=artifact.raw.data)
    if artifact.location is not None:
        return _below(KeptArtifact(location=artifact.location), artifact.sub_path)
    if artifact.s3 is not None:
        return _below(KeptArtifact(artifact.s3.key), artifact.sub_path)
    text = artifact.source
    if artifact.from_expression:
        found = evaluate_in(scope, artifact.from_expression)
        text = "" if found is None else str(found)
    if not text or "{{" in text:
        return None
    try:
        kept = msgspec.json.decode(text, type=KeptArtifact)
    except msgspec.MsgspecError as error:
        raise InvalidError("artifact-invalid", f"the artifact {artifact.name!r} comes from {text[:60]!r}, which is none; name one in a tag") from error
    return _below(kept, artifact.sub_path)


def _below(kept: KeptArtifact, sub_path: str) -> KeptArtifact:
    if not sub_path:
        return kept
    place = kept.location
    if place is None:
        return msgspec.structs.replace(kept, key=f"{kept.key}/{sub_path}")
    if place.s3 is None:
        raise InvalidError("artifact-invalid", f"{sub_path!r} of what comes from the web or from Git cannot be named; take it apart in a step")
    return msgspec.structs.replace(kept, location=Location(s3=msgspec.structs.replace(place.s3, key=f"{place.s3.key}/{sub_path}")))


def artifact_text(kept: KeptArtifact) -> str:
    """An artifact as tags hand it on."""
    return msgspec.json.encode(kept).decode()


def local_values(call: Call, parameters: Mapping[str, str], artifacts: Mapping[str, KeptArtifact]) -> dict[str, str]:
    """What the tags of a called template stand for beside those of the workflow."""
    template = call.template
    listed = [{"name": name, "value": value} for name, value in parameters.items()]
    found = {f"inputs.parameters.{name}": value for name, value in parameters.items()}
    found |= {"inputs.parameters": json_text(listed), "node.name": call.name, "steps.name": call.name, "tasks.name": call.name}
    found |= {f"inputs.artifacts.{name}": artifact_text(kept) for name, kept in artifacts.items()}
    if template.kind in LEAVES:
        for artifact in template.inputs.artifacts:
            found[f"inputs.artifacts.{artifact.name}.path"] = artifact.path
        for artifact in template.outputs.artifacts:
            found[f"outputs.artifacts.{artifact.name}.path"] = artifact.path
        for parameter in template.outputs.parameters:
            if parameter.value_from is not None:
                found[f"outputs.parameters.{parameter.name}.path"] = parameter.value_from.path
    return found
