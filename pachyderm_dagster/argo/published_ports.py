"""Ports of this machine that lead to pods: each connection goes to one that serves, and is counted until it ends."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

HOST = "127.0.0.1"
_BOTH_LOOPBACKS = (HOST, "::1")
_READ_BYTES = 1 << 16


@dataclass(eq=False, slots=True)
class Connections:
    """Those of one pod.

    Attributes:
        ended: is called when there is one less.
    """

    ended: Callable[[], None]
    count: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection is led to: a port of this machine that a pod listens on."""

    port: int
    connections: Connections


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class PublishedPorts:
    """Those that this process listens on.

    Args:
        targets: the pods that serve what is published at a port now.
    """

    def __init__(self, targets: Callable[[int], list[Target]]) -> None:
        self._targets = targets
        self._servers: dict[int, asyncio.Server] = {}
        self._turns: dict[int, int] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def publish(self, ports: Collection[int]) -> Mapping[int, str]:
        """Listens on these ports and on no others; why not on which of them."""
        for port in self._servers.keys() - ports:
            self._servers.pop(port).close()
        problems = {}
        for port in sorted(ports - self._servers.keys()):
            try:
                self._servers[port] = await asyncio.start_server(functools.partial(self._accept, port), HOST, port)
            except OSError as error:
                problems[port] = f"port {port} of {HOST} cannot be had: {error.strerror or error}"
        return problems

    async def close(self) -> None:
        """Listens no more, and ends what goes on."""
        await self.publish(())
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    def _accept(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(port, reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for target in self._in_turn(port):
                # Before anything is waited for: what is counted is not ended meanwhile.
                target.connections.count += 1
                try:
                    there = await _connected(target.port)
                    if there is not None:
                        await _joined((reader, writer), there)
                        return
                finally:
                    target.connections.count -= 1
                    target.connections.ended()
        finally:
            writer.close()

    def _in_turn(self, port: int) -> list[Target]:
        targets = self._targets(port)
        first = self._turns[port] = self._turns.get(port, -1) + 1
        return [targets[(first + number) % len(targets)] for number in range(len(targets))]


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected(port: int) -> _Streams | None:
    for host in _BOTH_LOOPBACKS:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(host, port)
    return None


async def _joined(here: _Streams, there: _Streams) -> None:
    """Hands on what comes from either side until both have no more, or one is gone."""
    try:
        # The first that breaks off ends the other one too.
        async with asyncio.TaskGroup() as both:
            both.create_task(_hand_on(here[0], there[1]))
            both.create_task(_hand_on(there[0], here[1]))
    except* OSError:
        pass
    finally:
        there[1].close()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_READ_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
