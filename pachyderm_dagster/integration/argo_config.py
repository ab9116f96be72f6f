"""What a launchpad asks for before a workflow runs: its parameters, with their defaults, choices and descriptions."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pachyderm_dagster.argo.calls import config_value
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.parameters import Parameter
from pachyderm_dagster.integration.argo_loading import LoadedWorkflow, identifier_of

PARAMETERS, ANSWERS = "parameters", "answers"
# Dagster's own types of configuration are not typed.
map_of: Any = dg.Map
_shape: Any = dg.Shape
STEP_CONFIG = {PARAMETERS: dg.Field(map_of(str, str), is_required=False), ANSWERS: dg.Field(map_of(str, map_of(str, str)), is_required=False)}
"""What every step of a workflow is given: the same, since any of them may be the first."""
_ANSWERS = (
    "What nodes that wait for somebody are resumed with as soon as they wait, by their names: `approve: {answer: go}`, or `approve: {}`. "
    "Nodes that are not named here wait."
)


def launch_mapping(workflow: LoadedWorkflow, steps: list[str]) -> dg.ConfigMapping:
    """What the launchpad of a workflow's job takes, and hands to its steps."""
    fields: dict[str, Any] = {}
    parameters = {one.name: _field(workflow, one) for one in workflow.spec.arguments.parameters}
    if parameters:
        fields[PARAMETERS] = dg.Field(_shape(parameters), description="The arguments of the workflow. All are strings: quote numbers.")
    if workflow.waits:
        fields[ANSWERS] = dg.Field(map_of(str, map_of(str, str), key_label_name="node"), default_value={}, description=_ANSWERS)

    def hand_on(given: Mapping[str, Any]) -> dict[str, Any]:
        return {"ops": {step: {"config": {PARAMETERS: given.get(PARAMETERS, {}), ANSWERS: given.get(ANSWERS, {})}} for step in steps}}

    return dg.ConfigMapping(config_fn=hand_on, config_schema=_shape(fields))


def _field(workflow: LoadedWorkflow, parameter: Parameter) -> dg.Field:
    default = _default(parameter, workflow.library)
    kind: Any = str
    if parameter.enum:
        # Every choice type has a name of its own in a code location.
        name = f"{identifier_of(workflow.name)}_{identifier_of(parameter.name)}"
        kind = dg.Enum(name, [dg.EnumValue(value) for value in dict.fromkeys(parameter.enum)])
    said = parameter.description or None
    return dg.Field(kind, is_required=True, description=said) if default is None else dg.Field(kind, default_value=default, description=said)


def _default(parameter: Parameter, library: Library) -> str | None:
    """The value that a parameter has when nobody gives one."""
    if parameter.value is not None:
        return parameter.value
    if parameter.default is not None:
        return parameter.default
    found = config_value(parameter, library)
    if found is None and parameter.value_from is not None:
        return parameter.value_from.default
    return found
