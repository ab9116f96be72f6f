"""A node that is tried again: a node for each attempt, until one does what it should or none may follow."""

from collections.abc import Awaitable, Callable

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeType
from pachyderm_dagster.argo.retrying import decide
from pachyderm_dagster.argo.tags import Scope, evaluate_in, replace_in
from pachyderm_dagster.argo.templates import RetryStrategy, Template
from pachyderm_dagster.argo.waits import Waits


async def run_attempts(
    call: Call, strategy: RetryStrategy, scope: Scope, *, table: NodeTable, waits: Waits, once: Callable[[Call, Scope], Awaitable[Node]]
) -> Node:
    """Runs a call as often as its strategy says; the node over its attempts."""
    node = table.begin(call, NodeType.RETRY)
    last: Node | None = None
    attempt = 0
    while True:
        inside = scope.with_values({"retries": str(attempt), **_last_retry(last)})
        one = _attempt(call, attempt, node.id, inside)
        last = table.find_fulfilled(one.name) or await once(one, inside)
        if not last.phase.is_failure:
            return table.end(node, last.phase, last.message, last.outputs) if last.phase.is_fulfilled else _daemoned(node, last, call, table)
        decision = decide(
            strategy,
            attempts=attempt + 1,
            phase=last.phase,
            message=last.message,
            seconds_since_first=last.finished - node.started,
            expression_holds=_expression_holds(strategy, scope, last),
        )
        if decision.wait_seconds is None:
            return table.end(node, last.phase, decision.reason or last.message, last.outputs)
        await waits.slept(last.finished + decision.wait_seconds - table.now())
        attempt += 1


def _daemoned(node: Node, last: Node, call: Call, table: NodeTable) -> Node:
    found = msgspec.structs.replace(node, daemoned=True, ip=last.ip)
    table.put(found)
    if call.daemons is not None:
        call.daemons.add_attempts(found)
    return found


def _attempt(call: Call, attempt: int, parent: str, scope: Scope) -> Call:
    template = msgspec.structs.replace(replace_in(call.template, Template, scope), retry_strategy=None)
    return call.under(names.attempt_name(call.name, attempt), f"{call.display_name}({attempt})", template, parent)


def _expression_holds(strategy: RetryStrategy, scope: Scope, last: Node) -> bool:
    if not strategy.expression:
        return True
    return evaluate_in(scope.with_values(_last_retry(last)), strategy.expression) is True


def _last_retry(last: Node | None) -> dict[str, str]:
    if last is None:
        return {}
    return {
        "lastRetry.exitCode": last.outputs.exit_code or "-1",
        "lastRetry.status": last.phase.value,
        "lastRetry.duration": str(int(last.finished - last.started)),
        "lastRetry.message": last.message,
    }
