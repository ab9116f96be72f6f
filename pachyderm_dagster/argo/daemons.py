"""Pods that are there for others: they run on after their step is done, until the template that they are in ends."""

import asyncio

from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.waits import cancelled


class Daemons:
    """Those of one template that is run."""

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self._running: list[tuple[Node, asyncio.Future[Node]]] = []
        self._over: list[Node] = []

    def add(self, node: Node, running: "asyncio.Future[Node]") -> None:
        """Takes over one that is ready; `running` ends its node when it ends by itself."""
        self._running.append((node, running))

    def add_attempts(self, node: Node) -> None:
        """Takes over the node over the attempts of one."""
        self._over.append(node)

    async def end(self) -> None:
        """Ends them all."""
        for node, running in self._running:
            was_done = running.done()
            await cancelled(running)
            if not was_done and self._table.find_fulfilled(node.name) is None:
                self._table.end(self._table.nodes[node.name], Phase.SUCCEEDED)
        for node in self._over:
            if self._table.find_fulfilled(node.name) is None:
                self._table.end(node, Phase.SUCCEEDED)
        self._running, self._over = [], []
