"""What a workflow gets of the events that start it: values at keys and of templates, and where they go to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pachyderm_dagster.argo.event_paths import NOTHING, value_at
from pachyderm_dagster.argo.events import Event
from pachyderm_dagster.argo.go_templates import NO_VALUE, GoTemplate
from pachyderm_dagster.argo.go_values import json_text, scalar_text
from pachyderm_dagster.argo.sensors import ParameterSource, TriggerParameter
from pachyderm_dagster.argo.workflows import Workflow
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError

OVERWRITE, APPEND, PREPEND = "overwrite", "append", "prepend"
_DESTINATION = re.compile(
    r"spec\.arguments\.parameters\.(?P<number>[0-9]{1,6})\.value|metadata\.(?P<name>name|generateName)|metadata\.labels\.(?P<label>[\w./\\-]+)"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """What a value becomes of a workflow: a parameter, a label or, without both, what its name begins with."""

    parameter: str = ""
    label: str = ""


@dataclass(slots=True)
class Given:
    """What events give to a workflow.

    Attributes:
        name: what its name begins with; None for the workflow's own.
    """

    parameters: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    name: str | None = None


def destination_of(dest: str, workflow: Workflow) -> Destination:
    """Where a value goes to.

    Raises:
        InvalidError: `event-destination-invalid`.
    """
    found = _DESTINATION.fullmatch(dest)
    if found is None:
        hint = "write spec.arguments.parameters.NUMBER.value, metadata.generateName, metadata.name or metadata.labels.NAME"
        raise InvalidError("event-destination-invalid", f"{dest!r} is nothing that an event can set; {hint}")
    if found["number"] is None:
        return Destination(label=found["label"].replace("\\.", ".") if found["label"] else "")
    known = workflow.spec.arguments.parameters
    if int(found["number"]) >= len(known):
        names = ", ".join(f"{index}: {one.name}" for index, one in enumerate(known)) or "none"
        raise InvalidError("event-destination-invalid", f"{dest!r} is none of the arguments of the workflow; those that there are: {names}")
    return Destination(parameter=known[int(found["number"])].name)


def given_by(parameters: Sequence[TriggerParameter], workflow: Workflow, events: Mapping[str, Event], clock: Clock) -> Given:
    """What events, by their dependencies, give to a workflow, one parameter after the other.

    Raises:
        InvalidError: `event-value-missing`.
    """
    found = Given()
    values = {one.name: one.value for one in workflow.spec.arguments.parameters}
    for one in parameters:
        value = _value(one.src, events, clock)
        if value is None:
            continue
        to = destination_of(one.dest, workflow)
        if to.parameter:
            found.parameters[to.parameter] = _joined(one.operation, found.parameters.get(to.parameter, values[to.parameter]), value)
        elif to.label:
            found.labels[to.label] = _joined(one.operation, found.labels.get(to.label, workflow.metadata.labels.get(to.label)), value)
        else:
            before = found.name if found.name is not None else workflow.metadata.generate_name or workflow.metadata.name
            found.name = _joined(one.operation, before, value)
    return found


def _joined(operation: str, before: str | None, value: str) -> str:
    if operation == APPEND:
        return (before or "") + value
    return value + (before or "") if operation == PREPEND else value


def _value(source: ParameterSource, events: Mapping[str, Event], clock: Clock) -> str | None:
    """The value; None where the event did not come, and there is no other."""
    event = events.get(source.dependency_name)
    if event is None:
        return source.value
    whole = not (source.context_key or source.context_template or source.data_key or source.data_template)
    if whole:
        return source.value if source.value is not None else json_text(event.whole)
    of_data = bool(source.data_key or source.data_template)
    about = event.data if of_data else event.plain_context
    template, key = (source.data_template, source.data_key) if of_data else (source.context_template, source.context_key)
    problem = ""
    if template:
        try:
            text = GoTemplate(template).render({"Input": about}, clock)
            if text not in ("", NO_VALUE):
                return text
            problem = f"the template {template!r} comes to nothing"
        except InvalidError as error:
            problem = error.message
    if key:
        found = value_at(about, key)
        if found is not NOTHING:
            return scalar_text(found)
        problem = f"there is no {key!r} in the {'data' if of_data else 'context'} of the event"
    if source.value is not None:
        return source.value
    raise InvalidError("event-value-missing", f"{problem}; give a 'value' for events of dependency {source.dependency_name!r} that lack it")
