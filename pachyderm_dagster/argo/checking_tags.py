"""Tags that can never stand for anything: told before a workflow runs."""

import re
from collections.abc import Iterable

import msgspec

from pachyderm_dagster.argo.depends import from_dependencies, names_in, parse_depends
from pachyderm_dagster.argo.tags import simple_tags
from pachyderm_dagster.argo.templates import Step, Task, Template
from pachyderm_dagster.argo.workflows import WorkflowSpec
from pachyderm_dagster.pps.strict import Place

_ROOTS = ("inputs", "outputs", "workflow", "steps", "tasks", "item", "pod", "node", "retries", "lastRetry", "cronworkflow", "globals")
_WORKFLOW = (
    "name",
    "namespace",
    "uid",
    "mainEntrypoint",
    "serviceAccountName",
    "priority",
    "creationTimestamp",
    "duration",
    "scheduledTime",
    "status",
    "failures",
    "labels",
    "annotations",
    "parameters",
    "outputs",
)
_DECLARED = re.compile(r"(inputs|workflow)\.parameters\.(.+)")


def check_tags(template: Template, spec: WorkflowSpec, place: Place) -> None:
    """Does nothing when every simple tag of a template names something that it can see.

    Raises:
        InvalidError: `spec-invalid`.
    """
    known = {
        "inputs": {one.name for one in template.inputs.parameters},
        "workflow": {one.name for one in spec.arguments.parameters},
    }
    are_global_open = not spec.entrypoint
    for tag in _tags(_without_flow(template)):
        _check_tag(tag, known, place, are_global_open=are_global_open)
    for step, visible, here in _steps_of(template, place):
        for tag in _tags(msgspec.structs.replace(step, inline=None)):
            _check_tag(tag, known, here, are_global_open=are_global_open)
            _check_sibling(tag, "tasks" if template.dag else "steps", visible, here)


def _without_flow(template: Template) -> Template:
    # What a metric may name is more: what came of the node.
    return msgspec.structs.replace(template, steps=None, dag=None, metrics=None)


def _tags(value: Template | Step) -> Iterable[str]:
    return dict.fromkeys(simple_tags(msgspec.json.encode(value).decode()))


def _check_tag(tag: str, known: dict[str, set[str]], place: Place, *, are_global_open: bool) -> None:
    root, _, rest = tag.partition(".")
    if root not in _ROOTS or (root == "workflow" and rest.partition(".")[0] not in _WORKFLOW):
        raise place.invalid(f"{{{{{tag}}}}} stands for nothing; what there is begins with {', '.join(_ROOTS[:7])}")
    declared = _DECLARED.fullmatch(tag)
    # A WorkflowTemplate is called by workflows whose parameters it cannot know.
    if declared is None or (declared[1] == "workflow" and are_global_open) or declared[2] == "json":
        return
    if declared[2] not in known[declared[1]]:
        names = ", ".join(map(repr, sorted(known[declared[1]]))) or "none"
        where = "inputs" if declared[1] == "inputs" else "arguments of the workflow"
        raise place.invalid(f"{{{{{tag}}}}} is not among the {where}, which are: {names}")


def _steps_of(template: Template, place: Place) -> Iterable[tuple[Step, set[str], Place]]:
    """Each step or task with the names of those whose outputs it may use."""
    earlier: set[str] = set()
    for number, group in enumerate(template.steps or ()):
        for index, step in enumerate(group):
            yield step, {*earlier, step.name}, place.field("steps").item(number).item(index)
        earlier |= {step.name for step in group}
    if template.dag is not None:
        ancestors = ancestors_of(template.dag.tasks)
        for index, task in enumerate(template.dag.tasks):
            yield task, {*ancestors[task.name], task.name}, place.field("dag").field("tasks").item(index)


def ancestors_of(tasks: Iterable[Task]) -> dict[str, set[str]]:
    """By task all those that it waits for, directly or not; of a graph without cycles."""
    needs = {task.name: names_in(parse_depends(task.depends) if task.depends else from_dependencies(task.dependencies)) for task in tasks}
    found: dict[str, set[str]] = {}

    def visit(name: str) -> set[str]:
        if name not in found:
            found[name] = set(needs[name])
            for needed in needs[name]:
                found[name] |= visit(needed)
        return found[name]

    for name in needs:
        visit(name)
    return found


def _check_sibling(tag: str, root: str, visible: set[str], place: Place) -> None:
    parts = tag.split(".")
    if parts[0] not in ("steps", "tasks") or len(parts) < 2 or "{{" in tag:
        return
    if parts[0] != root:
        raise place.invalid(f"{{{{{tag}}}}} begins with {parts[0]!r}; in this template it is {root!r}")
    if parts[1] not in visible and parts[1] != "name":
        other = "a task that this one depends on" if root == "tasks" else "a step of an earlier group"
        raise place.invalid(f"{{{{{tag}}}}} does not name {other}; those are: {', '.join(sorted(visible)) or 'none'}")
