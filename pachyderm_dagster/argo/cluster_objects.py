"""Objects of a cluster of any kind, as templates that are a `resource` ask for them."""

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pachyderm_dagster.argo.resource_flags import Flags
from pachyderm_dagster.argo.resources import NODE, OWNER, Document, Owned, Reference
from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError
from pachyderm_dagster.executors.kubernetes.server import JSON, Refusals, Server
from pachyderm_dagster.settings import KubernetesSettings

MANAGER = "pachyderm-dagster"
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCHES: Mapping[str, str] = {"": _STRATEGIC, "strategic": _STRATEGIC, "merge": "application/merge-patch+json"}
_APPLY = "application/apply-patch+yaml"


class ClusterObjects:
    """Objects of the cluster that the settings name."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._namespace = settings.namespace
        self._server = Server(settings, Refusals(_missing, _unfit))
        self._resources: dict[str, list[Document]] = {}

    def get(self, reference: Reference) -> Document:
        """The object. Errors as `Objects`."""
        return self._ask("GET", self._path(reference))

    def act(self, action: str, manifest: Document, *, merge: str, node: str, flags: Flags) -> Document | None:
        """As `Objects.act`."""
        reference = Reference.of(manifest)
        query = [("dryRun", "All")] if flags.dry_run else []
        match action:
            case "get":
                return self._get(reference, flags)
            case "delete":
                self._delete(reference, flags, query)
                return None
            case "create":
                return self._create(reference, manifest, node, query)
            case "apply":
                query += [("fieldManager", flags.field_manager or MANAGER), ("force", "true")]
                return self._ask("PATCH", self._path(reference), query=query, body=manifest, content_type=_APPLY)
            case "replace":
                version = self.get(reference)["metadata"]["resourceVersion"]
                metadata = {**manifest["metadata"], "resourceVersion": version}
                return self._ask("PUT", self._path(reference), query=query, body={**manifest, "metadata": metadata})
            case _:
                return self._ask("PATCH", self._path(reference), query=query, body=manifest, content_type=_PATCHES[merge])

    def _get(self, reference: Reference, flags: Flags) -> Document | None:
        try:
            return self.get(reference)
        except NotFoundError:
            if flags.ignores_missing:
                return None
            raise

    def _delete(self, reference: Reference, flags: Flags, query: list[tuple[str, str]]) -> None:
        options: Document = {"propagationPolicy": flags.cascade} if flags.cascade else {}
        if flags.grace_seconds is not None:
            options["gracePeriodSeconds"] = flags.grace_seconds
        try:
            self._ask("DELETE", self._path(reference), query=query, body=options or None)
        except NotFoundError:
            if not flags.ignores_missing:
                raise

    def remove_owned(self, owned: Owned, run: str) -> None:
        """As `Objects.remove_owned`."""
        path = self._path(Reference(owned.version, owned.kind, owned.namespace, ""))
        for found in self._ask("GET", path, query=[("labelSelector", f"{OWNER}={run}")])["items"]:
            # Somebody else may remove it meanwhile.
            with contextlib.suppress(NotFoundError):
                self._ask("DELETE", f"{path}/{quote(found['metadata']['name'])}", body={"preconditions": {"uid": found["metadata"]["uid"]}})

    def _create(self, reference: Reference, manifest: Document, node: str, query: list[tuple[str, str]]) -> Document:
        metadata = manifest["metadata"]
        body = {**manifest, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), NODE: node}}}
        try:
            return self._ask("POST", self._path(Reference(reference.version, reference.kind, reference.namespace, "")), query=query, body=body)
        except ConflictError:
            if not reference.name:
                raise
            there = self.get(reference)
            if (there["metadata"].get("annotations") or {}).get(NODE) != node:
                raise
            return there

    def _path(self, reference: Reference) -> str:
        base = f"/apis/{reference.version}" if "/" in reference.version else f"/api/{reference.version}"
        if base not in self._resources:
            self._resources[base] = self._ask("GET", base)["resources"]
        found = next((one for one in self._resources[base] if one["kind"] == reference.kind and "/" not in one["name"]), None)
        if found is None:
            raise InvalidError("object-unknown", f"the cluster knows no {reference.kind!r} of {reference.version!r}; correct 'kind' and 'apiVersion'")
        space = f"/namespaces/{quote(reference.namespace or self._namespace)}" if found["namespaced"] else ""
        return f"{base}{space}/{found['name']}" + (f"/{quote(reference.name)}" if reference.name else "")

    def _ask(self, method: str, path: str, **more: Any) -> Document:
        return self._server.ask_object(method, path, f"{method} {path}", **{"content_type": JSON, **more})


def _missing(message: str) -> PachydermError:
    return NotFoundError("object-not-found", f"{message}; correct the name, or the namespace")


def _unfit(message: str) -> PachydermError:
    return InvalidError("object-refused", f"the cluster does not take the object: {message}")
