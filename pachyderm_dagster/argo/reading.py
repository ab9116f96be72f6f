"""Workflow files as users write them, read strictly: what is wrong or not built is refused with its path and line."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from pachyderm_dagster.argo.event_sources import EventSourceSpec
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.parameters import Plain, Text, Texts
from pachyderm_dagster.argo.sensors import SensorSpec, Trigger
from pachyderm_dagster.argo.templates import Items
from pachyderm_dagster.argo.vocabulary import OTHER_NAMES
from pachyderm_dagster.argo.workflows import (
    CronSpec,
    CronWorkflow,
    EventSource,
    Metadata,
    Object,
    Read,
    Sensor,
    Values,
    Workflow,
    WorkflowSpec,
    WorkflowTemplate,
)
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.strict import OtherNames, Place, StrictReader, as_object, as_string, shown

GROUP = "argoproj.io/"
REFUSED_KINDS: Mapping[str, str] = {
    "WorkflowEventBinding": "there is no server of Argo that takes its events; write an EventSource with a `webhook`, and a Sensor",
    "EventBus": "events are kept in the home; leave it out",
    "WorkflowTaskSet": "it is between Argo's controller and its pods; remove it",
    "WorkflowArtifactGCTask": "it is between Argo's controller and its pods; remove it",
    "ClusterWorkflowTemplateList": "give the objects one after the other, with `---` between them",
    "List": "give the objects one after the other, with `---` between them",
}
_ENVELOPE = ("apiVersion", "kind", "metadata", "spec", "status")
_MOST_NAME, _MOST_CRON_NAME = 63, 52


def parse_objects(text: str, *, source: str, notes: list[str] | None = None) -> list[Read]:
    """The objects of a workflow file: YAML or JSON, one document or several.

    Args:
        text: what a user wrote.
        source: where it comes from, for messages.
        notes: gets a line for each field that is taken but does nothing here.

    Raises:
        InvalidError: `spec-invalid`, naming source, line, path and what was found; `spec-unsupported`, naming the way out.
    """
    heard: list[str] = [] if notes is None else notes
    found = [read_object(document, place, heard) for document, place in read_documents(text, source)]
    if not found:
        raise InvalidError("spec-invalid", f"{source}: there is no workflow in it; write one with `kind: Workflow`")
    return found


def read_object(document: Any, place: Place, notes: list[str]) -> Read:
    """An object from a plain document. Errors as `parse_objects`."""
    return Read(object=_read_object(as_object(document, place), place, notes), place=place)


def read_spec(document: Any, place: Place, notes: list[str]) -> WorkflowSpec:
    """The spec of a workflow from a plain document. Errors as `parse_objects`."""
    return strict_reader(notes).struct(WorkflowSpec, document, place)


def strict_reader(notes: list[str], more: Mapping[type, OtherNames] = {}) -> StrictReader:
    """What reads structs of workflow files; `more` is what such files say of other structs beyond their fields."""
    return StrictReader({**OTHER_NAMES, **more}, _READERS, notes, as_encoded=True)


def _word(document: dict[str, Any], place: Place, name: str, usual: str) -> str:
    if document.get(name) is None:
        raise place.field(name).invalid(f"is missing; write '{name}: {usual}'")
    return as_string(document[name], place.field(name))


def _read_object(document: dict[str, Any], place: Place, notes: list[str]) -> Object:
    kind = _word(document, place, "kind", "Workflow")
    if kind in REFUSED_KINDS:
        raise place.field("kind").unsupported(REFUSED_KINDS[kind])
    if kind not in _KINDS:
        raise place.field("kind").invalid(f"{kind!r} is none of {', '.join(_KINDS)}")
    expected = "v1" if kind in ("ConfigMap", "Secret") else GROUP + "v1alpha1"
    version = _word(document, place, "apiVersion", expected)
    if version != expected:
        raise place.field("apiVersion").invalid(f"expected {expected!r}, found {version!r}")
    read = _KINDS[kind]
    metadata = strict_reader(notes).struct(Metadata, document.get("metadata") or {}, place.field("metadata"))
    _check_name(metadata, place.field("metadata"), _MOST_CRON_NAME if kind == "CronWorkflow" else _MOST_NAME)
    return read(document, metadata, place, notes)


def _check_name(metadata: Metadata, place: Place, longest: int) -> None:
    if not (metadata.name or metadata.generate_name):
        raise place.invalid("an object has a 'name', or a 'generateName'")
    if len(metadata.name) > longest:
        raise place.field("name").invalid(f"{metadata.name!r} has {len(metadata.name)} characters; a name has at most {longest}")


def _check_envelope(document: dict[str, Any], place: Place, fields: tuple[str, ...]) -> None:
    for key in document:
        if key not in fields:
            raise place.field(key).invalid(f"unknown field; the fields here are {', '.join(fields)}")
    if "spec" in fields and not document.get("spec"):
        raise place.field("spec").invalid("required, but not given")


def _read_workflow(document: dict[str, Any], metadata: Metadata, place: Place, notes: list[str]) -> Object:
    _check_envelope(document, place, _ENVELOPE)
    return Workflow(metadata=metadata, spec=read_spec(document["spec"], place.field("spec"), notes))


def _read_template(document: dict[str, Any], metadata: Metadata, place: Place, notes: list[str]) -> Object:
    _check_envelope(document, place, _ENVELOPE)
    spec = read_spec(document["spec"], place.field("spec"), notes)
    return WorkflowTemplate(metadata=metadata, spec=spec, cluster_scope=document["kind"] == "ClusterWorkflowTemplate")


def _read_cron(document: dict[str, Any], metadata: Metadata, place: Place, notes: list[str]) -> Object:
    _check_envelope(document, place, _ENVELOPE)
    return CronWorkflow(metadata=metadata, spec=strict_reader(notes).struct(CronSpec, document["spec"], place.field("spec")))


def _read_event_source(document: dict[str, Any], metadata: Metadata, place: Place, notes: list[str]) -> Object:
    _check_envelope(document, place, _ENVELOPE)
    return EventSource(metadata=metadata, spec=strict_reader(notes).struct(EventSourceSpec, document["spec"], place.field("spec")))


def _read_sensor(document: dict[str, Any], metadata: Metadata, place: Place, notes: list[str]) -> Object:
    _check_envelope(document, place, _ENVELOPE)
    spec = strict_reader(notes).struct(SensorSpec, document["spec"], place.field("spec"))
    triggers = place.field("spec").field("triggers")
    workflows = tuple(_read_started(trigger, triggers.item(index).field("template"), notes) for index, trigger in enumerate(spec.triggers))
    return Sensor(metadata=metadata, spec=spec, workflows=workflows)


def _read_started(trigger: Trigger, place: Place, notes: list[str]) -> Workflow:
    """The workflow that a trigger starts."""
    template = trigger.template
    given = [name for name, found in (("argoWorkflow", template.argo_workflow), ("k8s", template.k8s)) if found is not None]
    if len(given) != 1 or template.starts is None:
        raise place.invalid(f"a trigger has one of argoWorkflow, k8s; found {' and '.join(given) or 'none'}")
    here = place.field(given[0]).field("source").field("resource")
    found = _read_object(template.starts.source.resource, here, notes)
    if not isinstance(found, Workflow):
        raise here.field("kind").unsupported("what is started is a Workflow; a template is run by one with a `workflowTemplateRef`")
    return found


def _read_values(document: dict[str, Any], metadata: Metadata, place: Place, _notes: list[str]) -> Object:
    secret = document["kind"] == "Secret"
    _check_envelope(document, place, ("apiVersion", "kind", "metadata", "data", "immutable", *(("stringData", "type") if secret else ("binaryData",))))
    found = {key: as_string(value, place.field("data").field(key)) for key, value in as_object(document.get("data") or {}, place.field("data")).items()}
    if secret:
        found = {key: _decoded(value, place.field("data").field(key)) for key, value in found.items()}
        plain = as_object(document.get("stringData") or {}, place.field("stringData"))
        found |= {key: as_string(value, place.field("stringData").field(key)) for key, value in plain.items()}
    elif document.get("binaryData"):
        raise place.field("binaryData").unsupported("values are text here; use `data`")
    return Values(metadata=metadata, data=found, secret=secret)


def _decoded(value: str, place: Place) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise place.invalid("expected text in base64; write it under 'stringData' as it is") from error


def _read_text(_reader: StrictReader, value: Any, place: Place) -> str:
    if isinstance(value, dict | list):
        raise place.invalid(f"expected a string, a number or a boolean, found {shown(value)}")
    return as_string(scalar_text(value), place)


def _read_texts(reader: StrictReader, value: Any, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise place.invalid(f"expected a list, found {shown(value)}")
    return tuple(_read_text(reader, found, place.item(index)) for index, found in enumerate(value))


def _read_items(_reader: StrictReader, value: Any, place: Place) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise place.invalid(f"expected a list, found {shown(value)}; a list that a step makes is `withParam`")
    for index, item in enumerate(value):
        if item is None:
            raise place.item(index).invalid("an item is a string, a number, a boolean, a list or a map, found null")
    return tuple(value)


def _read_plain(_reader: StrictReader, value: Any, place: Place) -> dict[str, Any]:
    return as_object(value, place)


_KINDS: Mapping[str, Callable[[dict[str, Any], Metadata, Place, list[str]], Object]] = {
    "Workflow": _read_workflow,
    "WorkflowTemplate": _read_template,
    "ClusterWorkflowTemplate": _read_template,
    "CronWorkflow": _read_cron,
    "EventSource": _read_event_source,
    "Sensor": _read_sensor,
    "ConfigMap": _read_values,
    "Secret": _read_values,
}
_READERS: dict[Any, Callable[[StrictReader, Any, Place], Any]] = {Text: _read_text, Texts: _read_texts, Items: _read_items, Plain: _read_plain}
