"""What is measured of a node, when it has ended."""

from collections.abc import Iterator

import msgspec

from pachyderm_dagster.argo.bookkeeping import Metrics, Prometheus
from pachyderm_dagster.argo.conditions import evaluate
from pachyderm_dagster.argo.nodes import Metric, Node
from pachyderm_dagster.argo.tags import Scope, replace_in, replace_tags
from pachyderm_dagster.errors import InvalidError


def end_values(node: Node) -> dict[str, str]:
    """What tags in metrics stand for, beside all that a template knows."""
    found = {"status": node.phase.value, "duration": f"{node.finished - node.started:.6f}", "outputs.result": node.outputs.result or ""}
    if node.outputs.exit_code is not None:
        found["exitCode"] = node.outputs.exit_code
    found |= {f"outputs.parameters.{name}": value for name, value in node.outputs.parameters.items()}
    return found


def measured(metrics: Metrics, scope: Scope, node: Node) -> tuple[Metric, ...]:
    """The metrics of a node that has ended.

    Raises:
        InvalidError: `metric-invalid`, or what its tags and conditions say.
    """
    return tuple(_measured(metrics, scope.with_values(end_values(node))))


def _measured(metrics: Metrics, scope: Scope) -> Iterator[Metric]:
    for one in metrics.prometheus:
        if one.when and not evaluate(replace_tags(one.when, scope, last=True)):
            continue
        ready = replace_in(msgspec.structs.replace(one, when=""), Prometheus, scope, last=True)
        kind, value = _value(ready)
        yield Metric(ready.name, kind, value, {label.key: label.value for label in ready.labels}, ready.help)


def _value(one: Prometheus) -> tuple[str, float]:
    for kind, found in (("gauge", one.gauge), ("counter", one.counter), ("histogram", one.histogram)):
        if found is not None:
            try:
                return kind, float(found.value)
            except ValueError as error:
                raise InvalidError("metric-invalid", f"the {kind} {one.name!r} is {found.value!r}; it is to be a number") from error
    raise InvalidError("metric-invalid", f"the metric {one.name!r} has none of gauge, counter and histogram; give one")
