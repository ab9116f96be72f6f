"""What came of steps and tasks: what others may know of them, and what comes of the template that they are in."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pachyderm_dagster.argo.calls import artifact_text, resolve_artifact
from pachyderm_dagster.argo.depends import Depends, Outcome, names_in
from pachyderm_dagster.argo.fan_out import aggregated_parameters, aggregated_results
from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.parameters import Outputs
from pachyderm_dagster.argo.tags import Scope, evaluate_in, replace_in, replace_tags
from pachyderm_dagster.argo.templates import ContinueOn, Step, Template
from pachyderm_dagster.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a step: its nodes, one, or one for each item.

    Attributes:
        outcome: what those that wait for it look at.
        nodes: of a single step the one; of a fan-out all that were started.
        is_group: it was a fan-out.
        template: what it ran, if that was known; whose outputs were declared.
    """

    outcome: Outcome
    nodes: tuple[Node, ...]
    is_group: bool = False
    template: Template | None = None


def tolerated(continue_on: ContinueOn | None) -> tuple[Phase, ...]:
    """The phases that a `continueOn` lets pass."""
    if continue_on is None:
        return ()
    return (*((Phase.FAILED,) if continue_on.failed else ()), *((Phase.ERROR,) if continue_on.error else ()))


def group_phase(nodes: Iterable[Node]) -> Phase:
    """The phase of a fan-out."""
    phases = {node.phase for node in nodes}
    return Phase.ERROR if Phase.ERROR in phases else Phase.FAILED if Phase.FAILED in phases else Phase.SUCCEEDED


@dataclass(slots=True)
class Known:
    """What is known of siblings: what tags stand for, and which outputs were never made."""

    values: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def add(self, root: str, step: Step, result: Result) -> None:
        """Adds a step that ended, under `steps.NAME` or `tasks.NAME`. Results of a fan-out are put together.

        Raises:
            InvalidError: `result-invalid`.
        """
        prefix = f"{root}.{step.name}"
        self.values[f"{prefix}.status"] = result.outcome.phase.value
        if result.is_group:
            self._add_group(prefix, result.nodes)
        elif result.nodes:
            (node,) = result.nodes
            self._add_node(prefix, node, result.template)

    def _add_node(self, prefix: str, node: Node, template: Template | None) -> None:
        self.values |= {f"{prefix}.id": node.id, f"{prefix}.startedAt": _time(node.started), f"{prefix}.finishedAt": _time(node.finished)}
        if node.type is NodeType.POD:
            self.values |= {f"{prefix}.ip": node.ip or "127.0.0.1", f"{prefix}.hostNodeName": "localhost"}
        self.values |= output_values(prefix, node.outputs)
        if node.phase in (Phase.SKIPPED, Phase.OMITTED) and template is not None:
            self._add_defaults(prefix, template.outputs)

    def _add_defaults(self, prefix: str, outputs: Outputs) -> None:
        for parameter in outputs.parameters:
            name = f"{prefix}.outputs.parameters.{parameter.name}"
            if parameter.value_from is not None and parameter.value_from.default is not None:
                self.values[name] = parameter.value_from.default
            else:
                self.absent.add(name)
        self.absent |= {f"{prefix}.outputs.artifacts.{artifact.name}" for artifact in outputs.artifacts}

    def _add_group(self, prefix: str, nodes: Sequence[Node]) -> None:
        done = [node.outputs for node in nodes if node.phase is Phase.SUCCEEDED]
        if any(outputs.result is not None for outputs in done):
            self.values[f"{prefix}.outputs.result"] = aggregated_results(outputs.result for outputs in done)
        for name, value in aggregated_parameters(outputs.parameters for outputs in done).items():
            self.values[f"{prefix}.outputs.parameters.{name}" if name else f"{prefix}.outputs.parameters"] = value


def output_values(prefix: str, outputs: NodeOutputs) -> dict[str, str]:
    """What tags say of outputs."""
    found = {f"{prefix}.outputs.parameters.{name}": value for name, value in outputs.parameters.items()}
    found |= {f"{prefix}.outputs.artifacts.{name}": artifact_text(kept) for name, kept in outputs.artifacts.items()}
    if outputs.result is not None:
        found[f"{prefix}.outputs.result"] = outputs.result
    if outputs.exit_code is not None:
        found[f"{prefix}.exitCode"] = outputs.exit_code
    return found


def _time(seconds: float) -> str:
    return rfc3339(dt.datetime.fromtimestamp(seconds, dt.UTC))


def flow_outputs(outputs: Outputs, scope: Scope) -> NodeOutputs:
    """The outputs of steps or a graph that succeeded, from those of what it ran.

    Raises:
        InvalidError: `output-missing`, or what its expressions say.
    """
    parameters: dict[str, str] = {}
    for one in outputs.parameters:
        value = _output_value(one.value_from.parameter, one.value_from.expression, scope) if one.value_from else replace_tags(one.value or "", scope)
        if value is None and one.value_from is not None:
            value = one.value_from.default
        if value is None:
            raise InvalidError("output-unresolved", f"the output parameter {one.name!r} has no value: what it comes from gave none; give it a default")
        parameters[one.name] = value
    artifacts: dict[str, KeptArtifact] = {}
    for artifact in outputs.artifacts:
        kept = resolve_artifact(replace_in(artifact, type(artifact), scope), scope)
        if kept is not None:
            artifacts[artifact.name] = kept
        elif not artifact.optional:
            raise InvalidError("output-unresolved", f"the output artifact {artifact.name!r} is not there: what it comes from gave none; make it optional")
    return with_globals(NodeOutputs(parameters=parameters, artifacts=artifacts), outputs)


def _output_value(parameter: str, expression: str, scope: Scope) -> str | None:
    if expression:
        found = evaluate_in(scope, expression)
        return None if found is None else scalar_text(found)
    try:
        return replace_tags(parameter, scope, last=True)
    except InvalidError as error:
        if error.code != "tag-unresolved":
            raise
        return None


def with_globals(found: NodeOutputs, declared: Outputs) -> NodeOutputs:
    """Outputs, with those under their `globalName` that have one."""
    parameters = {one.global_name: found.parameters[one.name] for one in declared.parameters if one.global_name and one.name in found.parameters}
    artifacts = {one.global_name: found.artifacts[one.name] for one in declared.artifacts if one.global_name and one.name in found.artifacts}
    if not parameters and not artifacts:
        return found
    return msgspec.structs.replace(found, global_parameters=parameters, global_artifacts=artifacts)


def without_absent(step: Step, absent: Collection[str]) -> Step:
    """A step without the arguments that are nothing but outputs that were never made, so that the inputs' own values count."""
    if not absent:
        return step
    kept = tuple(one for one in step.arguments.parameters if _only_tag(one.value or "") not in absent)
    artifacts = tuple(one for one in step.arguments.artifacts if _only_tag(one.source) not in absent)
    return msgspec.structs.replace(step, arguments=msgspec.structs.replace(step.arguments, parameters=kept, artifacts=artifacts))


def _only_tag(text: str) -> str:
    inner = text.strip().removeprefix("{{").removesuffix("}}")
    return inner.strip() if text.strip() == f"{{{{{inner}}}}}" else ""


def graph_phase(targets: Iterable[str], outcomes: Mapping[str, Outcome], needs: Mapping[str, Depends | None]) -> Phase:
    """What comes of a graph: the worst of its targets, of which an omitted one has the worst of what it needed."""
    worst = Phase.SUCCEEDED
    for name in targets:
        found = _branch_phase(name, outcomes, needs)
        if found is Phase.ERROR or (found is Phase.FAILED and worst is not Phase.ERROR):
            worst = found
    return worst


def _branch_phase(name: str, outcomes: Mapping[str, Outcome], needs: Mapping[str, Depends | None]) -> Phase:
    outcome = outcomes[name]
    if outcome.phase is Phase.OMITTED:
        return graph_phase(names_in(needs[name]), outcomes, needs)
    return Phase.SUCCEEDED if outcome.phase in outcome.tolerated else outcome.phase
