"""Steps and graphs: which calls follow from which, as coroutines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import Call, given_artifacts, given_parameters
from pachyderm_dagster.argo.conditions import evaluate
from pachyderm_dagster.argo.daemons import Daemons
from pachyderm_dagster.argo.depends import Depends, Outcome, from_dependencies, holds, names_in, parse_depends
from pachyderm_dagster.argo.fan_out import item_values, items_of
from pachyderm_dagster.argo.hooks import EXIT, EarlyHooks, hook_call
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.outcomes import Known, Result, flow_outputs, graph_phase, group_phase, tolerated, without_absent
from pachyderm_dagster.argo.tags import Scope, replace_in, replace_tags, results_asked_for
from pachyderm_dagster.argo.templates import Hook, Step, Task, Template
from pachyderm_dagster.errors import PachydermError

FAIL_FAST = "template has failed or errored children and failFast enabled"
EMPTY = "Skipped, empty params"
T = TypeVar("T")


class Runs(Protocol):
    """What runs the calls of a flow."""

    @property
    def library(self) -> Library:
        """What templates may be named."""
        ...

    @property
    def table(self) -> NodeTable:
        """The nodes that there are."""
        ...

    async def execute(self, call: Call) -> Node:
        """Runs a call to its end."""
        ...


class Boundary:
    """The children of a template: how many are active at once, and whether any more begin."""

    def __init__(self, template: Template) -> None:
        self._places = asyncio.Semaphore(template.parallelism) if template.parallelism else None
        self._fail_fast = template.fail_fast
        self.is_closed = False

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[bool]:
        """A place for a child for as long as a block; false when none begins any more."""
        if self._places is None:
            yield not self.is_closed
            return
        async with self._places:
            yield not self.is_closed

    def note(self, node: Node, passing: Sequence[Phase]) -> None:
        """Takes note of how a child ended."""
        if self._fail_fast and node.phase.is_failure and node.phase not in passing:
            self.is_closed = True


async def together(awaited: Sequence[Awaitable[T]]) -> list[T]:
    """What all of them return, after the last one ended; the first error of ours, if there is one, is raised then."""
    found = await asyncio.gather(*awaited, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


class Flow:
    """A call whose template is steps or a graph.

    Args:
        template: the call's, with the tags of its inputs replaced.
        scope: what its tags stand for.
    """

    def __init__(self, runs: Runs, call: Call, template: Template, scope: Scope) -> None:
        self._runs, self._call, self._template, self._scope = runs, call, template, scope
        self._table, self._daemons = runs.table, Daemons(runs.table)
        self._root = "tasks" if template.dag is not None else "steps"
        self._known = Known()
        self._boundary = Boundary(template)
        self._results = results_asked_for(msgspec.json.encode(template).decode())

    async def run(self) -> Node:
        """Runs it to its end."""
        node = self._table.begin(self._call, NodeType.DAG if self._template.dag is not None else NodeType.STEPS)
        try:
            phase = await (self._graph(node) if self._template.dag is not None else self._groups(node))
            if phase is Phase.SUCCEEDED:
                outputs = NodeOutputs() if self._call.target else flow_outputs(self._template.outputs, self._now())
                return self._table.end(node, phase, outputs=outputs)
            message = FAIL_FAST if self._boundary.is_closed else "a child failed"
            return self._table.end(node, phase, message)
        except PachydermError as error:
            return self._table.end(node, Phase.ERROR, error.message)
        finally:
            await self._daemons.end()

    def _now(self) -> Scope:
        return self._scope.with_values({**self._table.global_values(), **self._known.values}, frozenset(self._known.absent))

    # --- steps

    async def _groups(self, node: Node) -> Phase:
        for index, group in enumerate(up_to(self._template.steps or (), self._call.target)):
            call = Call(names.group_name(self._call.name, index), f"[{index}]", Template(), self._call.owner, parent=node.id)
            group_node = self._table.begin(call, NodeType.STEP_GROUP)
            try:
                phase = await self._group(group, index, group_node)
            except PachydermError as error:
                self._table.end(group_node, Phase.ERROR, error.message)
                raise
            self._table.end(group_node, phase, "" if phase is Phase.SUCCEEDED else "a child failed")
            if phase is not Phase.SUCCEEDED:
                return Phase.FAILED
        return Phase.SUCCEEDED

    async def _group(self, group: Sequence[Step], index: int, node: Node) -> Phase:
        scope = self._now()
        found = await together([self._step(step, names.step_name(self._call.name, index, step.name), node.id, scope) for step in group])
        for step, result in zip(group, found, strict=True):
            self._known.add("steps", step, result)
        failed = any(_fails(result) for result in found)
        return Phase.FAILED if failed or self._boundary.is_closed else Phase.SUCCEEDED

    # --- a graph

    async def _graph(self, node: Node) -> Phase:
        dag = self._template.dag
        assert dag is not None
        needs = {task.name: parse_depends(task.depends) if task.depends else from_dependencies(task.dependencies) for task in dag.tasks}
        targets = self._call.target.split() or dag.target.split() or leaves_of(needs)
        wanted = needed_for(targets, needs)
        running: dict[str, asyncio.Task[Result]] = {}
        for task in dag.tasks:
            if task.name in wanted:
                running[task.name] = asyncio.create_task(self._task(task, needs[task.name], running, node.id))
        results = await together(list(running.values()))
        outcomes = {name: result.outcome for name, result in zip(running, results, strict=True)}
        phase = graph_phase(targets, outcomes, needs)
        return Phase.FAILED if phase.is_failure or self._boundary.is_closed else phase

    async def _task(self, task: Task, needs: Depends | None, running: dict[str, asyncio.Task[Result]], parent: str) -> Result:
        name = names.task_name(self._call.name, task.name)
        outcomes = {}
        for needed in names_in(needs):
            outcomes[needed] = (await asyncio.shield(running[needed])).outcome
        if needs is not None and not holds(needs, outcomes):
            result = self._unstarted(task, name, parent, Phase.OMITTED, "omitted: depends condition not met")
        else:
            try:
                result = await self._step(task, name, parent, self._now())
            except PachydermError as error:
                result = self._unstarted(task, name, parent, Phase.ERROR, error.message)
        self._known.add("tasks", task, result)
        return result

    # --- a step or task

    async def _step(self, step: Step, name: str, parent: str, scope: Scope) -> Result:
        step = without_absent(step, scope.absent)
        numbered = msgspec.structs.replace(step, inline=None, arguments=type(step.arguments)(), hooks={}, when="")
        items = items_of(replace_in(numbered, type(numbered), scope, last=True))
        if items is None:
            return await self._single(step, name, step.name, parent, scope)
        if not items:
            return self._unstarted(step, name, parent, Phase.SKIPPED, EMPTY)
        return await self._several(step, items, name, parent, scope)

    async def _several(self, step: Step, items: Sequence[Any], name: str, parent: str, scope: Scope) -> Result:
        one = msgspec.structs.replace(step, with_items=None, with_param=None, with_sequence=None)
        group = None
        if self._root == "tasks":
            call = Call(name, step.name, Template(name=step.template), self._call.owner, parent=parent)
            group = self._table.begin(call, NodeType.TASK_GROUP)
        calls = []
        for index, item in enumerate(items):
            suffix = names.item_suffix(index, item)
            inside = scope.with_values(item_values(item))
            calls.append(self._single(one, name + suffix, step.name + suffix, group.id if group else parent, inside))
        try:
            results = await together(calls)
        except PachydermError as error:
            if group is not None:
                self._table.end(group, Phase.ERROR, error.message)
            raise
        nodes = tuple(node for result in results for node in result.nodes)
        phase = group_phase(nodes)
        if group is not None:
            self._table.end(group, phase)
        return Result(Outcome(phase, tuple(node.phase for node in nodes), tolerated(step.continue_on)), nodes, is_group=True)

    async def _single(self, step: Step, name: str, display_name: str, parent: str, scope: Scope) -> Result:
        async with self._boundary.place() as may_begin:
            if not may_begin:
                return Result(Outcome(Phase.OMITTED), ())
            if step.when and not evaluate(replace_tags(step.when, scope)):
                condition = replace_tags(step.when, scope)
                return self._unstarted(step, name, parent, Phase.SKIPPED, f"when '{condition}' evaluated false", display_name)
            call, template = self._call_of(step, name, display_name, parent, scope)
            hooks = EarlyHooks(
                step.hooks, call, lambda: self._scope_of_hooks(name, step, scope), table=self._table, library=self._runs.library, run=self._runs.execute
            )
            node = await hooks.during(self._runs.execute(call))
            passing = tolerated(step.continue_on)
            self._boundary.note(node, passing)
            result = Result(Outcome(node.phase, (), passing), (node,), template=template)
            await self._run_exit_hook(step, node, result, scope)
            return result

    def _scope_of_hooks(self, name: str, step: Step, scope: Scope) -> Scope:
        node = self._table.nodes.get(name)
        known = Known()
        if node is not None:
            known.add(self._root, step, Result(Outcome(node.phase), (node,)))
        return scope.with_values({**self._table.global_values(), **known.values}, frozenset(known.absent))

    def _call_of(self, step: Step, name: str, display_name: str, parent: str, scope: Scope) -> tuple[Call, Template]:
        ready = replace_in(msgspec.structs.replace(step, inline=None, hooks={}, on_exit="", when=""), type(step), scope, last=True)
        template, owner = self._runs.library.get_template(self._call.owner, msgspec.structs.replace(ready, inline=step.inline))
        parameters, artifacts = given_parameters(ready.arguments), given_artifacts(ready.arguments, scope)
        return Call(name, display_name, template, owner, parameters, artifacts, parent, step.name in self._results, self._daemons), template

    def _unstarted(self, step: Step, name: str, parent: str, phase: Phase, message: str, display_name: str = "") -> Result:
        call = Call(name, display_name or step.name, Template(name=step.template), self._call.owner, parent=parent)
        node = self._table.end(self._table.begin(call, NodeType.SKIPPED), phase, message)
        return Result(Outcome(phase, (), tolerated(step.continue_on)), (node,), template=self._template_of(step))

    def _template_of(self, step: Step) -> Template | None:
        try:
            return self._runs.library.get_template(self._call.owner, step)[0]
        except PachydermError:
            # Its name has tags: which outputs it would have had is not known.
            return None

    async def _run_exit_hook(self, step: Step, node: Node, result: Result, scope: Scope) -> None:
        hook = step.hooks.get(EXIT) or (Hook(template=step.on_exit) if step.on_exit else None)
        if hook is None:
            return
        known = Known()
        known.add(self._root, step, result)
        inside = scope.with_values(known.values, frozenset(known.absent))
        of = self._call.under(node.name, node.display_name, self._template, node.parent)
        # What comes of it changes nothing for the step; the group waits for it.
        await self._runs.execute(hook_call(hook, EXIT, replace(of, daemons=self._daemons), inside, library=self._runs.library, parent=node.id))


def _fails(result: Result) -> bool:
    if result.is_group:
        return any(node.phase.is_failure and node.phase not in result.outcome.tolerated for node in result.nodes)
    return result.outcome.phase.is_failure and result.outcome.phase not in result.outcome.tolerated


def up_to(groups: Sequence[Sequence[Step]], target: str) -> list[Sequence[Step]]:
    """The groups of steps before the one that a step is in, and that step alone; all groups without a step."""
    found: list[Sequence[Step]] = []
    for group in groups:
        wanted = [step for step in group if step.name == target]
        found.append(wanted or group)
        if wanted:
            break
    return found


def leaves_of(needs: dict[str, Depends | None]) -> list[str]:
    """The tasks that no other waits for."""
    waited_for = {needed for found in needs.values() for needed in names_in(found)}
    return [name for name in needs if name not in waited_for]


def needed_for(targets: Sequence[str], needs: dict[str, Depends | None]) -> set[str]:
    """The targets and all that they wait for."""
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(names_in(needs[name]))
    return found
