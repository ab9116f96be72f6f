"""What people ask of a workflow while it runs: looked at now and then, and passed on to its engine."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from pachyderm_dagster.argo.engine import Engine
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.waits import Resumed, Waits

POLL_SECONDS = 0.1
STOP, TERMINATE = "Stop", "Terminate"
STOPPED = "workflow shutdown with strategy: "


class Said(Protocol):
    """What somebody said of a node that is suspended."""

    @property
    def node(self) -> str:
        """Its name."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """What it is given."""
        ...

    @property
    def phase(self) -> Phase | None:
        """As what it is to end; None when it only gets parameters."""
        ...

    @property
    def message(self) -> str:
        """Why."""
        ...


class Asked(Protocol):
    """Where it stands what people ask."""

    def answers(self) -> Sequence[Said]:
        """What was said of nodes, in order."""
        ...

    def asked_to_stop(self) -> str | None:
        """The strategy of a stop."""
        ...

    def is_suspended(self) -> bool:
        """Whether nothing is to begin."""
        ...


def resumed(node: str, answers: Sequence[Said]) -> Resumed | None:
    """How a node goes on after what was said; None while it waits."""
    given: dict[str, str] = {}
    for one in answers:
        if one.node == node:
            given |= one.parameters
            if one.phase is not None:
                return Resumed(given, one.phase, one.message)
    return None


class Control:
    """Hands on what is asked of one workflow."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._is_suspended = asked.is_suspended()
        self._waiting: dict[str, asyncio.Future[Resumed]] = {}
        self._may_begin = asyncio.Event()
        self._stopped: str | None = None

    async def answer(self, node: str) -> Resumed:
        """What was given with the resume of a node."""
        found = resumed(node, self._asked.answers())
        if found is not None:
            return found
        self._waiting[node] = asyncio.get_running_loop().create_future()
        return await self._waiting[node]

    async def go_ahead(self) -> None:
        """Waits while the workflow is suspended."""
        while self._is_suspended:
            self._may_begin.clear()
            await self._may_begin.wait()

    async def watch(self, running: "asyncio.Future[Node]", engine: Engine, waits: Waits) -> str | None:
        """Looks until the workflow ends, is stopped, or has nothing to do but wait for answers; the strategy of a stop."""
        was_idle = False
        while not running.done():
            await asyncio.wait((running,), timeout=POLL_SECONDS)
            strategy = self._asked.asked_to_stop()
            if strategy == TERMINATE:
                return strategy
            if strategy is not None and self._stopped is None:
                self._stopped = strategy
                engine.stop(STOPPED + strategy)
            self._pass_on()
            # Twice, because between two looks something may have ended of which the engine has not heard.
            is_idle = waits.only_for_answers
            if is_idle and was_idle:
                return self._stopped
            was_idle = is_idle
        return self._stopped

    def _pass_on(self) -> None:
        # The handlers of one that is stopped are run though it was suspended.
        self._is_suspended = self._stopped is None and self._asked.is_suspended()
        if not self._is_suspended:
            self._may_begin.set()
        answers = self._asked.answers() if self._waiting else ()
        for node, waiting in list(self._waiting.items()):
            found = resumed(node, answers)
            if found is not None:
                del self._waiting[node]
                if not waiting.done():
                    waiting.set_result(found)
