"""The workflow that is run: what its tags stand for from start to end, and what it says of all its templates."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import input_parameters
from pachyderm_dagster.argo.go_times import timestamp_variables
from pachyderm_dagster.argo.go_values import json_text
from pachyderm_dagster.argo.library import OWN, Library
from pachyderm_dagster.argo.merging import merged_structs
from pachyderm_dagster.argo.parameters import Artifact, Inputs, KeyArtifact
from pachyderm_dagster.argo.templates import KINDS, LEAVES, Hook, Template
from pachyderm_dagster.argo.workflows import Metadata, WorkflowMetadata, WorkflowSpec
from pachyderm_dagster.errors import InvalidError

SCHEDULED_TIME = "workflows.argoproj.io/scheduled-time"
"""The annotation that holds when a workflow was to start that a CronWorkflow started."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The workflow that is run.

    Attributes:
        metadata: with its name.
        spec: of it, over that of its template; the values of its arguments are given.
        library: what it names; its own templates under `OWN`.
        created: when it was submitted.
    """

    metadata: Metadata
    uid: str
    spec: WorkflowSpec
    library: Library
    created: dt.datetime


def exit_handler(spec: WorkflowSpec) -> Hook | None:
    """What is run at the end, if anything is."""
    return spec.hooks.get("exit") or (Hook(template=spec.on_exit) if spec.on_exit else None)


def with_defaults(template: Template, spec: WorkflowSpec) -> Template:
    """A template with what the workflow says of all templates, and with its retry strategy when it is a pod."""
    if spec.template_defaults is not None:
        others = {"name", *(kind for kind in KINDS if kind != template.kind)}
        template = merged_structs(spec.template_defaults, template, leave_out=others)
    if template.retry_strategy is None and template.kind in LEAVES and spec.retry_strategy is not None:
        return msgspec.structs.replace(template, retry_strategy=spec.retry_strategy)
    return template


def fixed_values(subject: Subject) -> dict[str, str]:
    """What tags of the workflow stand for from its start to its end."""
    metadata, parameters, more = subject.metadata, subject.spec.arguments.parameters, subject.spec.workflow_metadata or WorkflowMetadata()
    labels, annotations = {**more.labels, **metadata.labels}, {**more.annotations, **metadata.annotations}
    listed = json_text([{"name": one.name, "value": one.value} for one in parameters])
    return {
        "workflow.name": metadata.name,
        "workflow.namespace": metadata.namespace or "default",
        "workflow.uid": subject.uid,
        "workflow.mainEntrypoint": subject.spec.entrypoint,
        "workflow.serviceAccountName": subject.spec.service_account_name or "default",
        "workflow.priority": "0",
        "workflow.parameters": listed,
        "workflow.parameters.json": listed,
        "workflow.labels": json_text(labels),
        "workflow.annotations": json_text(annotations),
        **timestamp_variables("workflow.creationTimestamp", subject.created),
        **({"workflow.scheduledTime": metadata.annotations[SCHEDULED_TIME]} if SCHEDULED_TIME in metadata.annotations else {}),
        **{f"workflow.parameters.{one.name}": one.value for one in parameters if one.value is not None},
        **{f"workflow.labels.{name}": value for name, value in labels.items()},
        **{f"workflow.annotations.{name}": value for name, value in annotations.items()},
    }


def with_files(spec: WorkflowSpec, given: Iterable[str], library: Library) -> WorkflowSpec:
    """The spec with artifacts that are given as files among its arguments; their keys are `file_key`.

    Raises:
        InvalidError: `artifact-unknown`, `artifact-missing`.
    """
    arguments = {one.name: one for one in spec.arguments.artifacts}
    wanted = {one.name: one for one in library.named(OWN, spec.entrypoint).inputs.artifacts}
    for name in given:
        if name not in wanted and name not in arguments:
            message = f"the workflow takes no artifact {name!r}; those that it takes: {names.joined(list(wanted | arguments))}"
            raise InvalidError("artifact-unknown", message)
        arguments[name] = Artifact(name=name, s3=KeyArtifact(key=file_key(name)))
    for name, one in wanted.items():
        if not (one.optional or one.has_source or (name in arguments and arguments[name].has_source)):
            raise InvalidError("artifact-missing", f"the workflow needs the artifact {name!r}; give it with --artifact {name}=PATH")
    return msgspec.structs.replace(spec, arguments=msgspec.structs.replace(spec.arguments, artifacts=tuple(arguments.values())))


def file_key(name: str) -> str:
    """The key in a run's store of an artifact that was given as a file."""
    return f"arguments/{name}.tgz"


def with_values(spec: WorkflowSpec, given: Mapping[str, str], library: Library) -> WorkflowSpec:
    """The spec with the values of its arguments: those that are given, else its own.

    Raises:
        InvalidError: `parameter-missing`, `parameter-invalid`, `parameter-unknown`.
        NotFoundError: `config-map-not-found`.
    """
    known = {one.name: one for one in spec.arguments.parameters}
    for name in given:
        if name not in known:
            raise InvalidError("parameter-unknown", f"the workflow has no parameter {name!r}; those that it has: {names.joined(list(known))}")
    whole = Template(name=spec.entrypoint, inputs=Inputs(parameters=spec.arguments.parameters))
    values = input_parameters(whole, given, library)
    parameters = tuple(msgspec.structs.replace(one, value=values[one.name], value_from=None) for one in spec.arguments.parameters)
    return msgspec.structs.replace(spec, arguments=msgspec.structs.replace(spec.arguments, parameters=parameters))
