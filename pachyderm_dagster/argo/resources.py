"""Templates that are a `resource`: something is done with an object of a cluster, and then it is looked at until a condition holds."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.object_paths import holds, jq, json_path
from pachyderm_dagster.argo.outcomes import with_globals
from pachyderm_dagster.argo.parameters import Outputs
from pachyderm_dagster.argo.tags import Scope, replace_in
from pachyderm_dagster.argo.templates import Resource, Template, without_bookkeeping
from pachyderm_dagster.argo.waits import Waits
from pachyderm_dagster.errors import ExecutionError, InvalidError, PachydermError

Document: TypeAlias = dict[str, Any]
ACTIONS = ("get", "create", "apply", "delete", "replace", "patch")
MERGES = ("", "strategic", "merge")
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


class Objects(Protocol):
    """The objects of a cluster. Its methods wait for the cluster, and raise what it says (`object-not-found`, `object-refused`, `cluster-unreachable`)."""

    def act(self, action: str, manifest: Document, *, merge: str, node: str) -> Document | None:
        """Does one of `ACTIONS`; the object as it is then, None when it is gone.

        Args:
            merge: how a patch is merged, of `MERGES`.
            node: who does it, so that it finds what it made before it was killed.
        """
        ...

    def get(self, reference: Reference) -> Document:
        """The object."""
        ...


async def run_resource(call: Call, scope: Scope, *, table: NodeTable, waits: Waits, objects: Callable[[], Objects] | None, uid: str) -> Node:
    """Does what the template of a call says, and tells what came of it."""
    node = table.begin(call, NodeType.POD)
    try:
        if objects is None:
            message = "a template is a 'resource', and the workflow was submitted without a network; submit it with --network, and set KUBECONFIG"
            raise InvalidError("network-not-allowed", message)
        template = replace_in(without_bookkeeping(call.template), Template, scope, last=True)
        assert template.resource is not None
        with waits.busy():
            found = await _acted(template.resource, await asyncio.to_thread(objects), waits, f"{uid}/{node.id}")
        return table.end(node, Phase.SUCCEEDED, "", with_globals(_outputs(template.outputs, found), template.outputs))
    except _Failed as failed:
        return table.end(node, Phase.FAILED, str(failed))
    except PachydermError as error:
        return table.end(node, Phase.ERROR, error.message)


class _Failed(Exception):
    """The failure condition of a resource holds."""


async def _acted(resource: Resource, objects: Objects, waits: Waits, node: str) -> Document | None:
    manifest = _manifest(resource.manifest)
    found = await asyncio.to_thread(objects.act, resource.action, manifest, merge=resource.merge_strategy, node=node)
    if found is None or not (resource.success_condition or resource.failure_condition):
        return found
    reference = Reference.of({"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], **found})
    wait = _FIRST_LOOK_SECONDS
    while True:
        if resource.failure_condition and holds(resource.failure_condition, found):
            raise _Failed(f"the failure condition {resource.failure_condition!r} holds for {reference.kind} {reference.name!r}")
        if not resource.success_condition or holds(resource.success_condition, found):
            return found
        await waits.sleep(wait)
        wait = min(2 * wait, _LONGEST_LOOK_SECONDS)
        found = await asyncio.to_thread(objects.get, reference)


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
