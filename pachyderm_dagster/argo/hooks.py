"""Hooks: templates that are run when something has happened to a workflow or to one of its steps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.calls import Call, given_artifacts, given_parameters
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node
from pachyderm_dagster.argo.tags import Scope, evaluate_in, replace_in
from pachyderm_dagster.argo.templates import Hook
from pachyderm_dagster.argo.waits import all_cancelled
from pachyderm_dagster.errors import PachydermError

EXIT = "exit"


def hook_call(hook: Hook, name: str, of: Call, scope: Scope, *, library: Library, parent: str = "") -> Call:
    """The call of the hook `name` of a node, whose tags are replaced."""
    ready = replace_in(hook, Hook, scope, last=True)
    template, owner = library.get_template(of.owner, ready)
    node = names.hook_name(of.name, name)
    display_name = names.hook_name(of.display_name, name)
    return Call(node, display_name, template, owner, given_parameters(ready.arguments), given_artifacts(ready.arguments, scope), parent, daemons=of.daemons)


class EarlyHooks:
    """The hooks of a node but `exit`: each is run once, when its expression holds for the first time.

    Args:
        of: the node's call, in whose object the hooks' templates are looked up.
        scope: what the expressions see, now.
        run: runs a call.
    """

    def __init__(
        self, hooks: Mapping[str, Hook], of: Call, scope: Callable[[], Scope], *, table: NodeTable, library: Library, run: Callable[[Call], Awaitable[Node]]
    ) -> None:
        self._waiting = {name: hook for name, hook in hooks.items() if name != EXIT}
        self._of, self._scope, self._table, self._library, self._run = of, scope, table, library, run
        self._running: list[asyncio.Future[Node]] = []
        self._problem: PachydermError | None = None

    async def during(self, running: Awaitable[Node]) -> Node:
        """What is awaited, with the hooks, for whose ends it waits too."""
        if not self._waiting:
            return await running
        unwatch = self._table.watch(self.look)
        try:
            try:
                found = await running
            finally:
                unwatch()
            await self.end()
            return found
        finally:
            # Those that still run when this is cancelled write nothing after it.
            await all_cancelled(self._running)

    def look(self) -> None:
        """Starts the hooks whose time has come."""
        for name, hook in list(self._waiting.items()):
            try:
                scope = self._scope()
                # One that ran before this process did has come true already.
                if names.hook_name(self._of.name, name) not in self._table.nodes and evaluate_in(scope, hook.expression) is not True:
                    continue
                del self._waiting[name]
                parent = self._table.nodes[self._of.name].id if self._of.name in self._table.nodes else ""
                call = hook_call(hook, name, self._of, scope, library=self._library, parent=parent)
                self._running.append(asyncio.ensure_future(self._run(call)))
            except PachydermError as error:
                self._waiting.pop(name, None)
                self._problem = self._problem or error

    async def end(self) -> None:
        """Looks once more, and waits for those that run.

        Raises:
            PachydermError: what an expression or an argument says.
        """
        self.look()
        if self._running:
            await asyncio.wait(self._running)
        if self._problem is not None:
            raise self._problem
