"""The process that runs pods (`pod_host`), as it is asked from here."""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pachyderm_dagster.argo import pod_host
from pachyderm_dagster.argo.pod_orders import READY, Answer, Order, answer_of
from pachyderm_dagster.errors import ExecutionError

_MOST_LINE = 1 << 22


class HostClient:
    """Gives orders, and hears how they ended.

    Attributes:
        has_ended: it takes no more of them.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._starting: dict[int, Callable[[], None]] = {}
        self._ready = self._expect(READY)
        self.has_ended = False

    async def run(self, order: Order, *, started: Callable[[], None] | None = None) -> Answer:
        """Runs a container to its end; a call that is cancelled ends it first.

        Args:
            started: is called when its program runs.

        Raises:
            ExecutionError: `pods-unavailable`, when the host has ended.
        """
        if self.has_ended:
            raise _host_ended()
        id = next(self._ids)
        waiting = self._expect(id)
        if started is not None:
            self._starting[id] = started
        self._send(order.line(id, tells_start=started is not None))
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._send(Order(id).line(id, tells_start=False))
            await _ended(waiting)
            raise
        finally:
            self._starting.pop(id, None)

    def _send(self, order: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order)

    def _expect(self, id: int) -> asyncio.Future[Answer]:
        self._waiting[id] = asyncio.get_running_loop().create_future()
        return self._waiting[id]

    async def read(self) -> None:
        """Hears answers until the host ends."""
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._hear(answer_of(line))
        finally:
            self.has_ended = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_host_ended())

    def _hear(self, answer: Answer) -> None:
        if answer.started:
            self._starting.get(answer.id, _ignore)()
            return
        waiting = self._waiting.pop(answer.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def be_ready(self) -> None:
        """Waits until it takes orders.

        Raises:
            ExecutionError: `pods-unavailable`.
        """
        ready = await asyncio.shield(self._ready)
        if ready.problem:
            raise ExecutionError("pods-unavailable", f"pods cannot run on this machine: {ready.problem}")


def _ignore() -> None:
    pass


async def _ended(waiting: "asyncio.Future[Answer]") -> None:
    """Waits for the end of a container that was asked for; whoever cancels that wait too gets no other end. The host kills what does not end by itself."""
    while not waiting.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((waiting,))


def _host_ended() -> ExecutionError:
    return ExecutionError("pods-unavailable", "the process that runs pods has ended; run the workflow again with 'argo retry'")


@contextlib.asynccontextmanager
async def opened_host(scratch: Path, *, network: bool, lock: Path | None = None) -> AsyncIterator[HostClient]:
    """A host for a block, at the end of which nothing that it started is left.

    Args:
        lock: a file that one host holds at a time; the next one takes no orders before nothing is left of that.

    Raises:
        ExecutionError: `pods-unavailable`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", pod_host.__name__, str(scratch), "network" if network else "no-network", *([] if lock is None else [str(lock)])),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MOST_LINE,
    )
    client = HostClient(process)
    reading = asyncio.ensure_future(client.read())
    try:
        await client.be_ready()
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reading
