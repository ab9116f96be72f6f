"""Templates that are a `resource`: something is done with an object of a cluster, and then it is looked at until a condition holds."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.object_paths import holds, jq, json_path
from pachyderm_dagster.argo.outcomes import with_globals
from pachyderm_dagster.argo.parameters import Artifact, Outputs
from pachyderm_dagster.argo.resource_flags import Flags, parse_flags
from pachyderm_dagster.argo.secret_keys import Secrets
from pachyderm_dagster.argo.tags import Scope, replace_in
from pachyderm_dagster.argo.templates import Resource, Template, without_bookkeeping
from pachyderm_dagster.argo.waits import Waits
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, PachydermError

Document: TypeAlias = dict[str, Any]
ACTIONS = ("get", "create", "apply", "delete", "replace", "patch")
MERGES = ("", "strategic", "merge")
OWNER = "pachyderm-dagster/owner"
"""The label of objects that go with a run, whose uid is its value."""
NODE = "pachyderm-dagster/node"
"""The annotation that says which node made an object, so that who was killed finds it."""
_MAKES_NOTHING = ("get", "delete")
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Which object: the version of its kind, the kind, where it is, and its name."""

    version: str
    kind: str
    namespace: str
    name: str

    @staticmethod
    def of(manifest: Document) -> "Reference":
        """That of a manifest.

        Raises:
            InvalidError: `manifest-invalid`.
        """
        metadata = manifest.get("metadata")
        version, kind = manifest.get("apiVersion"), manifest.get("kind")
        if not isinstance(metadata, dict) or not version or not kind or not (metadata.get("name") or metadata.get("generateName")):
            raise InvalidError("manifest-invalid", "a manifest has 'apiVersion', 'kind' and 'metadata' with a name; write them")
        return Reference(str(version), str(kind), str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


class Owned(msgspec.Struct, frozen=True):
    """Objects of a kind in a namespace, of which some belong to a run."""

    version: str
    kind: str
    namespace: str


class Objects(Protocol):
    """The objects of a cluster. Its methods wait for the cluster, and raise what it says (`object-not-found`, `object-refused`, `cluster-unreachable`)."""

    def act(self, action: str, manifest: Document, *, merge: str, node: str, flags: Flags) -> Document | None:
        """Does one of `ACTIONS`; the object as it is then, None when it is gone.

        Args:
            merge: how a patch is merged, of `MERGES`.
            node: who does it, so that it finds what it made before it was killed.
        """
        ...

    def remove_owned(self, owned: "Owned", run: str) -> None:
        """Removes the objects among these that belong to a run, by its uid (`OWNER`)."""
        ...

    def get(self, reference: Reference) -> Document:
        """The object."""
        ...


@dataclass(frozen=True, slots=True)
class Around:
    """What a run gives to its templates that are a `resource`.

    Attributes:
        objects: opens those of a cluster; None without a network.
        text: the text of an artifact.
        own: keeps that there may be objects that go with the run; is called before they are made.
    """

    objects: Callable[[], Objects] | None
    text: Callable[[KeptArtifact, Artifact, Secrets], str]
    own: Callable[[Owned], None]


def _no_text(_kept: KeptArtifact, artifact: Artifact, _secrets: Secrets) -> str:
    raise NotFoundError("artifact-not-found", f"there is no artifact {artifact.name!r}, as nothing keeps artifacts here")


NOTHING_AROUND = Around(None, _no_text, lambda _: None)
"""No cluster, and no artifacts."""


async def run_resource(call: Call, scope: Scope, *, table: NodeTable, waits: Waits, around: Around, uid: str, secrets: Secrets) -> Node:
    """Does what the template of a call says, and tells what came of it."""
    node = table.begin(call, NodeType.POD)
    try:
        if around.objects is None:
            message = "a template is a 'resource', and the workflow was submitted without a network; submit it with --network"
            raise InvalidError("network-not-allowed", message)
        template = replace_in(without_bookkeeping(call.template), Template, scope, last=True)
        assert template.resource is not None
        manifest = _manifest(await asyncio.to_thread(_manifest_text, template, call, around, secrets))
        flags = parse_flags(template.resource.flags)
        _place(manifest, flags)
        if template.resource.set_owner_reference and template.resource.action not in _MAKES_NOTHING:
            _own(manifest, uid, around)
        with waits.busy():
            found = await _acted(template.resource, manifest, flags, await asyncio.to_thread(around.objects), waits, f"{uid}/{node.id}")
        return table.end(node, Phase.SUCCEEDED, "", with_globals(_outputs(template.outputs, found), template.outputs))
    except _Failed as failed:
        return table.end(node, Phase.FAILED, str(failed))
    except PachydermError as error:
        return table.end(node, Phase.ERROR, error.message)


class _Failed(Exception):
    """The failure condition of a resource holds."""


def _manifest_text(template: Template, call: Call, around: Around, secrets: Secrets) -> str:
    assert template.resource is not None
    source = template.resource.manifest_from
    if source is None:
        return template.resource.manifest
    artifact = next(one for one in template.inputs.artifacts if one.name == source.artifact.name)
    kept = call.artifacts.get(artifact.name)
    if kept is None:
        raise NotFoundError("artifact-not-found", f"the manifest is to be the artifact {artifact.name!r}, which nobody gives; give it one")
    return around.text(kept, artifact, secrets)


def _place(manifest: Document, flags: Flags) -> None:
    metadata = manifest.get("metadata")
    if flags.namespace and isinstance(metadata, dict) and not metadata.get("namespace"):
        metadata["namespace"] = flags.namespace


def _own(manifest: Document, uid: str, around: Around) -> None:
    reference = Reference.of(manifest)
    metadata = manifest["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER: uid}
    around.own(Owned(reference.version, reference.kind, reference.namespace))


async def _acted(resource: Resource, manifest: Document, flags: Flags, objects: Objects, waits: Waits, node: str) -> Document | None:
    found = await asyncio.to_thread(functools.partial(objects.act, resource.action, manifest, merge=resource.merge_strategy, node=node, flags=flags))
    if found is None or flags.dry_run or not (resource.success_condition or resource.failure_condition):
        return found
    reference = Reference.of({"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], **found})
    wait = _FIRST_LOOK_SECONDS
    while True:
        if resource.failure_condition and holds(resource.failure_condition, found):
            raise _Failed(f"the failure condition {resource.failure_condition!r} holds for {reference.kind} {reference.name!r}{_reasons(found)}")
        if not resource.success_condition or holds(resource.success_condition, found):
            return found
        await waits.sleep(wait)
        wait = min(2 * wait, _LONGEST_LOOK_SECONDS)
        found = await asyncio.to_thread(objects.get, reference)


def _reasons(found: Document) -> str:
    """What the conditions of an object say that do not hold."""
    status = found.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    messages = [one.get("message") for one in conditions or () if isinstance(one, dict) and one.get("status") == "False"]
    return "".join(f"; {message}" for message in messages if message)


def _manifest(text: str) -> Document:
    documents = [document for document, _ in read_documents(text, "manifest")]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InvalidError("manifest-invalid", f"a manifest is one object in YAML; found {len(documents)} documents")
    return documents[0]


def _outputs(outputs: Outputs, found: Document | None) -> NodeOutputs:
    parameters = {}
    for one in outputs.parameters:
        source = one.value_from
        value = one.value if source is None else None
        if source is not None and found is not None:
            value = json_path(source.json_path, found) if source.json_path else jq(source.jq_filter, found)
        if value is None and source is not None:
            value = source.default
        if value is None:
            raise ExecutionError("output-not-written", f"the output parameter {one.name!r} has no value: the object has nothing there; give it a default")
        parameters[one.name] = value
    return NodeOutputs(parameters=parameters)
