"""Workflow files as a code location loads them: what can be run of them, and how it can be divided."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.kept_objects import KeptObjects, ObjectName, read_all
from pachyderm_dagster.argo.library import OWN, Library, Owner, effective_spec, library_of
from pachyderm_dagster.argo.parts import Part, parts_of, why_whole
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.triggering import SensorTrigger
from pachyderm_dagster.argo.workflows import CronWorkflow, Metadata, Read, Sensor, Workflow, WorkflowSpec, WorkflowTemplate
from pachyderm_dagster.errors import InvalidError, NotFoundError

Granularity: TypeAlias = Literal["auto", "task", "workflow"]
Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9_]")
_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """A workflow that can be run.

    Attributes:
        name: what its runs' names begin with.
        metadata: of its object.
        spec: over that of its template, its arguments as they are declared.
        library: what it may name; its own templates too.
        kind: of its object.
        files: where it and what it names stand.
        parts: its steps, to be run one by one; none when it is run as a whole.
        whole: why it is run as a whole.
        cron: what starts it.
        trigger: what starts it, of a Sensor.
    """

    name: str
    metadata: Metadata
    spec: WorkflowSpec
    library: Library
    kind: str
    files: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    whole: str | None = None
    cron: CronWorkflow | None = None
    trigger: SensorTrigger | None = None

    @property
    def waits(self) -> bool:
        """Whether any template of it, or of what it names, waits for a resume."""
        return any(template.suspend is not None for owner in _owners(self.library) for template in self.library.templates[owner].templates)


def load_workflows(files: Files, *, entrypoint: str | None = None, granularity: Granularity = "auto", notes: list[str] | None = None) -> list[LoadedWorkflow]:
    """What can be run of workflow files, or of folders of them: workflows, what CronWorkflows and Sensors start, and templates that say
    with which one to begin.

    Args:
        entrypoint: the template to begin with, in place of the files' own.
        granularity: `task` divides workflows into their steps, `workflow` does not, `auto` divides those that can be.
        notes: gets a line for each field that is taken but does nothing here.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`, `workflow-not-flat`.
        NotFoundError: `source-not-found`, and for what a workflow names.
    """
    paths = list(_paths([files] if isinstance(files, str | os.PathLike) else files))
    objects = [read for path in paths for read in parse_objects(_text(path), source=str(path), notes=notes)]
    return _load(objects, library_of(objects), tuple(map(str, paths)), entrypoint, granularity)


def load_kept(objects: KeptObjects, names: Collection[ObjectName], *, granularity: Granularity = "auto") -> list[LoadedWorkflow]:
    """What can be run of objects that a home keeps; they may name all that it keeps.

    Raises:
        InvalidError, NotFoundError: as `load_workflows`.
    """
    kept = objects.list()
    chosen = [one for one in kept if one.name in names]
    return _load(read_all(chosen), library_of(read_all(kept)), (), None, granularity)


def _load(objects: Sequence[Read], library: Library, files: tuple[str, ...], entrypoint: str | None, granularity: Granularity) -> list[LoadedWorkflow]:
    for read in objects:
        check_object(read, library)
    found = [one for read in objects for one in _loaded(read, library, files, entrypoint)]
    return [_divided(one, granularity) for one in found]


def find_workflow(found: Sequence[LoadedWorkflow], name: str | None) -> LoadedWorkflow:
    """The workflow of a name among those of files, or the only one.

    Raises:
        InvalidError: `workflow-not-single`.
        NotFoundError: `workflow-not-found`.
    """
    names = ", ".join(repr(one.name) for one in found) or "none"
    if name is None:
        # Templates that workflows beside them name may say where to begin too.
        started = [one for one in found if one.kind in ("Workflow", "CronWorkflow")] or list(found)
        if len(started) != 1:
            raise InvalidError("workflow-not-single", f"the files hold {len(started)} workflows: {names}; name the one that is meant")
        return started[0]
    for one in found:
        if one.name == name:
            return one
    raise NotFoundError("workflow-not-found", f"the files hold no workflow {name!r}; those that they hold: {names}")


def identifier_of(name: str) -> str:
    """A name as Dagster takes one."""
    return _NOT_IN_IDENTIFIERS.sub("_", name)


def _paths(files: Sequence[str | os.PathLike[str]]) -> Iterator[Path]:
    for file in files:
        path = Path(file)
        if path.is_dir():
            yield from sorted(inner for inner in path.iterdir() if inner.suffix in _ENDINGS and inner.is_file())
        else:
            yield path


def _text(path: Path) -> str:
    if not path.is_file():
        raise NotFoundError("source-not-found", f"{path} does not exist; name a workflow file, or a folder of them")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("spec-invalid", f"{path}: byte {error.start} is not UTF-8; it is to be JSON or YAML in UTF-8") from error


def _loaded(read: Read, library: Library, files: tuple[str, ...], entrypoint: str | None) -> Iterator[LoadedWorkflow]:
    """What can be run of an object."""

    def loaded(metadata: Metadata, spec: WorkflowSpec, name: str = "") -> LoadedWorkflow:
        whole = effective_spec(spec, library)
        if entrypoint is not None:
            whole = msgspec.structs.replace(whole, entrypoint=entrypoint)
        own = replace(library, templates={**library.templates, OWN: whole})
        own.named(OWN, whole.entrypoint)
        return LoadedWorkflow(name or metadata.name or metadata.generate_name.rstrip("-"), metadata, whole, own, read.kind, files)

    match read.object:
        case Workflow(metadata=metadata, spec=spec):
            yield loaded(metadata, spec)
        case WorkflowTemplate(metadata=metadata, spec=spec) if spec.entrypoint or entrypoint:
            yield loaded(metadata, spec)
        case CronWorkflow(metadata=metadata, spec=spec) as cron:
            yield replace(loaded(metadata, spec.workflow_spec), cron=cron)
        case Sensor(workflows=workflows) as sensor:
            for index, workflow in enumerate(workflows):
                trigger = SensorTrigger(sensor, index, library)
                yield replace(loaded(workflow.metadata, workflow.spec, trigger.name), trigger=trigger)
        case _:
            pass


def _owners(library: Library) -> set[Owner]:
    """The workflow and the objects whose templates it names, directly or not."""
    found: set[Owner] = set()
    waiting: list[Owner] = [OWN]
    while waiting:
        owner = waiting.pop()
        if owner in found or owner not in library.templates:
            continue
        found.add(owner)
        for template in library.templates[owner].templates:
            waiting += [(step.template_ref.cluster_scope, step.template_ref.name) for step in template.flow if step.template_ref is not None]
    return found


def _divided(one: LoadedWorkflow, granularity: Granularity) -> LoadedWorkflow:
    if granularity == "workflow":
        return replace(one, whole="it is asked for as a whole")
    reason = why_whole(one.spec, one.library)
    if reason is None:
        return replace(one, parts=parts_of(one.spec, one.library))
    if granularity == "task":
        raise InvalidError("workflow-not-flat", f"the workflow {one.name!r} cannot be run step by step: {reason}; leave the granularity to 'auto'")
    return replace(one, whole=reason)
