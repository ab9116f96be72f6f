"""What a run waits for that is no pod: time, and people's answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pachyderm_dagster.argo.nodes import Phase

T = TypeVar("T")
L = TypeVar("L")


async def at_once() -> None:
    """Waits for nothing."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """How somebody had a suspended node go on: with which parameters, and as what it ends."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    phase: Phase = Phase.SUCCEEDED
    message: str = ""


@dataclass(slots=True)
class Waits:
    """What the engine waits for that is neither a pod nor an answer of the executor.

    Attributes:
        sleep: waits so many seconds.
        answer: waits until somebody resumes the node of this name.
        go_ahead: waits for as long as the whole workflow is suspended.
    """

    sleep: Callable[[float], Awaitable[None]]
    answer: Callable[[str], Awaitable[Resumed]]
    go_ahead: Callable[[], Awaitable[None]] = at_once
    _busy: int = 0
    _suspended: int = 0

    @property
    def only_for_answers(self) -> bool:
        """Whether nothing goes on before somebody resumes a node, or the workflow."""
        return self._suspended > 0 and not self._busy

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """For as long as a block something goes on by itself."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """For as long as a block something waits for people."""
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1

    async def slept(self, seconds: float) -> None:
        """Waits so many seconds, if there are any."""
        if seconds > 0:
            with self.busy():
                await self.sleep(seconds)

    async def until_resumed(self) -> None:
        """Waits for as long as the workflow is suspended."""
        with self.suspended():
            await self.go_ahead()

    async def within(self, seconds: float | None, running: Awaitable[T], late: Callable[[], L]) -> T | L:
        """What is awaited, or `late()` where that is not there after so many seconds; it is cancelled then."""
        if seconds is None:
            return await running
        task = asyncio.ensure_future(running)
        timer = asyncio.ensure_future(self.sleep(max(seconds, 0.0)))
        try:
            await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else late()
        finally:
            await cancelled(task)
            await cancelled(timer)


async def cancelled(task: "asyncio.Future[Any]") -> None:
    """Cancels what is not done, and waits for its end."""
    await all_cancelled((task,))


async def all_cancelled(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancels what is not done, and waits for the ends of all."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
