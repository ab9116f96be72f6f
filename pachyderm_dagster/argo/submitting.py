"""From the objects of files to a workflow that can be run: which one, under which name, with which values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import msgspec

from pachyderm_dagster.argo.kept_objects import KeptObject
from pachyderm_dagster.argo.library import OWN, Library, effective_spec
from pachyderm_dagster.argo.names import generated_name
from pachyderm_dagster.argo.subject import SCHEDULED_TIME, Subject, with_files, with_values
from pachyderm_dagster.argo.workflows import CronWorkflow, Metadata, Read, Workflow, WorkflowSpec, WorkflowTemplate
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError


def find_single(objects: Sequence[Read]) -> Workflow | WorkflowTemplate:
    """The only workflow of files or, when they have none, the only WorkflowTemplate.

    Raises:
        InvalidError: `workflow-not-single`.
    """
    runnable = [read.object for read in objects if isinstance(read.object, Workflow | WorkflowTemplate)]
    wanted = [one for one in runnable if isinstance(one, Workflow)] or runnable
    if len(wanted) != 1:
        raise InvalidError("workflow-not-single", f"the files hold {len(wanted)} workflows; give one at a time, with what it names")
    return wanted[0]


def kept_workflow(kept: KeptObject) -> Workflow | WorkflowTemplate:
    """What is run of an object that a home keeps, again and again: under a generated name.

    Raises:
        InvalidError: `workflow-not-single`, for a ConfigMap or Secret; as `read_object`.
    """
    match kept.read().object:
        case WorkflowTemplate() as template:
            return template
        case CronWorkflow(spec=spec) as cron:
            metadata = msgspec.structs.replace(of_schedule(cron, 0, ""), name="")
            annotations = {name: value for name, value in metadata.annotations.items() if name != SCHEDULED_TIME}
            return Workflow(metadata=msgspec.structs.replace(metadata, annotations=annotations), spec=spec.workflow_spec)
        case Workflow(metadata=metadata, spec=spec):
            return Workflow(metadata=msgspec.structs.replace(metadata, name="", generate_name=f"{metadata.base_name}-"), spec=spec)
        case _:
            raise InvalidError("workflow-not-single", f"{kept.name} is nothing that runs; name a workflow, a template or a CronWorkflow")


def named(metadata: Metadata, name: str | None, generate_name: str | None, random_hex: str) -> Metadata:
    """Metadata with the name of a run: the one that is given, else a generated or the own one."""
    if name is None and (generate_name or not metadata.name):
        name = generated_name(generate_name or metadata.generate_name, random_hex)
    return msgspec.structs.replace(metadata, name=name or metadata.name)


def new_subject(metadata: Metadata, spec: WorkflowSpec, library: Library, given: Mapping[str, str], clock: Clock, *, files: Collection[str] = ()) -> Subject:
    """What is run: a spec over that of its template, with the values of its arguments.

    Args:
        files: the artifacts that `Runs.create` gets as files.

    Raises:
        InvalidError: `parameter-missing`, `parameter-invalid`, `parameter-unknown`, `artifact-missing`, `artifact-unknown`.
        NotFoundError: `workflow-template-not-found`, `template-not-found`, `config-map-not-found`.
    """
    ready = with_values(effective_spec(spec, library), given, library)
    ready = with_files(ready, files, replace(library, templates={**library.templates, OWN: ready}))
    own = replace(library, templates={**library.templates, OWN: ready})
    return Subject(metadata, clock.new_id(), ready, own, clock.now())


def of_schedule(cron: CronWorkflow, seconds: int, scheduled: str) -> Metadata:
    """The metadata of the workflow that a CronWorkflow starts for a time: seconds since 1970, and as RFC 3339."""
    given = cron.spec.workflow_metadata
    return Metadata(
        name=f"{cron.metadata.name}-{seconds}",
        generate_name=f"{cron.metadata.name}-",
        namespace=cron.metadata.namespace,
        labels={**_texts(given.get("labels")), "workflows.argoproj.io/cron-workflow": cron.metadata.name},
        annotations={**_texts(given.get("annotations")), SCHEDULED_TIME: scheduled},
    )


def _texts(found: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
