"""The kinds of objects that a home without a cluster has, and what one of them takes."""

from collections.abc import Mapping

from pachyderm_dagster.argo.deployment_reading import read_deployment, read_service
from pachyderm_dagster.argo.kept_objects import MOST_OF_NAME, can_be_kept_as
from pachyderm_dagster.argo.reading import read_object, strict_reader
from pachyderm_dagster.argo.resources import Document, Reference
from pachyderm_dagster.argo.workflows import Metadata
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.object_names import NAME_RULE
from pachyderm_dagster.pps.strict import Place

DEPLOYMENT, REPLICA_SET, SERVICE, CONFIG_MAP, SECRET = "Deployment", "ReplicaSet", "Service", "ConfigMap", "Secret"
VERSIONS: Mapping[str, str] = {DEPLOYMENT: "apps/v1", REPLICA_SET: "apps/v1", SERVICE: "v1", CONFIG_MAP: "v1", SECRET: "v1"}
"""The kinds that there are, with their versions."""
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
SYSTEM_FIELDS = ("uid", "creationTimestamp", "generation", "resourceVersion", "managedFields", "selfLink")
"""What the system sets of metadata, whatever is given."""


def checked(reference: Reference) -> Reference:
    """The same, where a home has objects of that kind, and lets them be changed.

    Raises:
        InvalidError: `object-unknown`.
    """
    expected = VERSIONS.get(reference.kind)
    if expected is None or reference.kind == REPLICA_SET:
        there = ", ".join(kind for kind in VERSIONS if kind != REPLICA_SET)
        message = f"a home without a cluster has no {reference.kind!r}; it has {there}; set KUBECONFIG, or PACHYDERM_OBJECTS=cluster, to act on a cluster"
        raise InvalidError("object-unknown", message)
    if reference.version != expected:
        raise InvalidError("object-unknown", f"a {reference.kind} is of {expected!r}, not of {reference.version!r}; correct 'apiVersion'")
    return reference


def check_object(document: Document) -> list[str]:
    """Looks whether an object can be kept; what of it is without effect.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    kind, name = document["kind"], str(document["metadata"]["name"])
    place = Place(f"{kind} {name}")
    notes: list[str] = []
    metadata = {key: value for key, value in document["metadata"].items() if key not in SYSTEM_FIELDS}
    if not can_be_kept_as(name):
        raise place.field("metadata").field("name").invalid(f"{name!r} names no object; it takes up to {MOST_OF_NAME} {NAME_RULE}")
    if kind in (CONFIG_MAP, SECRET):
        read_object({**document, "metadata": metadata}, place, notes)
        return notes
    for key in document:
        if key not in _FIELDS:
            raise place.field(key).invalid(f"unknown field; the fields here are {', '.join(_FIELDS)}")
    strict_reader(notes).struct(Metadata, metadata, place.field("metadata"))
    read = read_deployment if kind == DEPLOYMENT else read_service
    read(document.get("spec"), place.field("spec"), notes)
    return notes
