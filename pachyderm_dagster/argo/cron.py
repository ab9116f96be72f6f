"""Whether the workflow of a CronWorkflow is started when its time has come."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.argo import conditions
from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.argo.tags import Scope, evaluate_in, nest, replace_tags
from pachyderm_dagster.argo.workflows import CronWorkflow
from pachyderm_dagster.clock import Clock

FORBID, REPLACE = "Forbid", "Replace"


@dataclass(frozen=True, slots=True)
class CronHistory:
    """What came of a CronWorkflow so far.

    Attributes:
        last: the time for which it was started last; None before the first.
        failed, succeeded: how many of its workflows ended so.
    """

    last: dt.datetime | None = None
    failed: int = 0
    succeeded: int = 0


def why_not_started(cron: CronWorkflow, scheduled: dt.datetime, history: CronHistory, clock: Clock) -> str | None:
    """Why a CronWorkflow does not start its workflow for a time; None when it does. What its workflows do meanwhile is not looked at.

    Raises:
        InvalidError: what its expressions say.
    """
    spec = cron.spec
    late = (clock.now() - scheduled).total_seconds()
    if spec.starting_deadline_seconds is not None and late > spec.starting_deadline_seconds:
        return f"it was to start at {rfc3339(scheduled)}, {late:.0f} s ago, and may be {spec.starting_deadline_seconds} s late"
    scope = _scope(cron, history, clock)
    stop = stop_expression(cron)
    if stop and evaluate_in(scope, stop) is True:
        return f"it has stopped for good: {stop!r} holds, with {history.succeeded} that succeeded and {history.failed} that failed"
    if spec.when and not conditions.evaluate(replace_tags(spec.when, scope, last=True)):
        return f"when {spec.when!r} is false"
    return None


def stop_expression(cron: CronWorkflow) -> str:
    """The expression of its `stopStrategy`; empty when it has none."""
    strategy = cron.spec.stop_strategy
    return str(strategy.get("expression") or strategy.get("condition") or "")


def _scope(cron: CronWorkflow, history: CronHistory, clock: Clock) -> Scope:
    metadata = cron.metadata
    texts = {
        "cronworkflow.name": metadata.name,
        "cronworkflow.namespace": metadata.namespace or "default",
        **{f"cronworkflow.labels.{name}": value for name, value in metadata.labels.items()},
        **{f"cronworkflow.annotations.{name}": value for name, value in metadata.annotations.items()},
    }
    # Expressions reckon with times and numbers; tags are texts.
    nested: dict[str, Any] = nest(texts)
    nested["cronworkflow"] |= {"lastScheduledTime": history.last, "failed": history.failed, "succeeded": history.succeeded}
    counted = {"cronworkflow.failed": str(history.failed), "cronworkflow.succeeded": str(history.succeeded)}
    if history.last is not None:
        counted["cronworkflow.lastScheduledTime"] = rfc3339(history.last)
    return Scope({**texts, **counted}, functions(clock), _nested=nested)
