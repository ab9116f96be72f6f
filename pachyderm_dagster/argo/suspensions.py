"""A node that waits for people, or for time."""

from collections.abc import Mapping

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.outcomes import with_globals
from pachyderm_dagster.argo.parameters import Parameter
from pachyderm_dagster.argo.retrying import to_seconds
from pachyderm_dagster.argo.waits import Resumed, Waits


async def run_suspension(call: Call, *, table: NodeTable, waits: Waits) -> Node:
    """Waits until somebody resumes the node, or its time is over; its outputs are what was given then."""
    node = table.begin(call, NodeType.SUSPEND)
    suspend = call.template.suspend
    duration = suspend.duration if suspend else None
    if duration is None:
        with waits.suspended():
            given = await waits.answer(call.name)
    else:
        with waits.busy():
            given = await waits.within(node.started + to_seconds(duration) - table.now(), waits.answer(call.name), Resumed)
    if given.phase is not Phase.SUCCEEDED:
        return table.end(node, given.phase, given.message)
    parameters: dict[str, str] = {}
    for one in call.template.outputs.parameters:
        value = _supplied(one, given.parameters, call.parameters)
        if value is None:
            return table.end(node, Phase.ERROR, f"nobody gave the parameter {one.name!r}; resume with '-p {one.name}=VALUE', or give it a default")
        parameters[one.name] = value
    return table.end(node, Phase.SUCCEEDED, given.message, with_globals(NodeOutputs(parameters=parameters), call.template.outputs))


def _supplied(parameter: Parameter, given: Mapping[str, str], inputs: Mapping[str, str]) -> str | None:
    if parameter.name in given:
        return given[parameter.name]
    if parameter.value_from is not None and parameter.value_from.default is not None:
        return parameter.value_from.default
    return inputs.get(parameter.name)
