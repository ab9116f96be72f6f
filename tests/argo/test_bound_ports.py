"""Ports of pods: programs that ask for the same port run beside each other, and reach themselves there."""

import asyncio
import contextlib
import os
import socket
import struct
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pachyderm_dagster.argo.bound_ports import other_port
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.pod_orders import Order
from pachyderm_dagster.errors import ExecutionError

ASKED = 8080


def ipv4(address: str, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)


def ipv6(address: str, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + socket.inet_pton(socket.AF_INET6, address) + bytes(4)


@pytest.mark.parametrize(
    ("address", "is_bind", "expected"),
    [
        (ipv4("0.0.0.0", 8080), True, 40000),
        (ipv4("127.0.0.1", 8080), True, 40000),
        (ipv6("::", 8080), True, 40000),
        (ipv4("0.0.0.0", 8081), True, None),
        (ipv4("127.0.0.1", 8080), False, 40000),
        (ipv6("::1", 8080), False, 40000),
        (ipv6("::ffff:127.0.0.1", 8080), False, 40000),
        (ipv4("10.0.0.1", 8080), False, None),
        (ipv6("fd00::1", 8080), False, None),
        (struct.pack("=H", socket.AF_UNIX) + b"/run/socket\0", True, None),
        (b"\2\0", True, None),
    ],
)
def test_ports_are_exchanged_where_a_program_listens_and_on_the_loopback(address: bytes, is_bind: bool, expected: int | None) -> None:
    assert other_port(address, {8080: 40000}, is_bind=is_bind) == expected


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def order(folder: Path, name: str, *argv: str, port: int) -> Order:
    (folder / name).mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin"}
    return Order(0, str(folder / name), argv, environment, log=str(folder / f"{name}.log"), ports=((ASKED, port),))


@contextlib.asynccontextmanager
async def running(host: HostClient, order: Order) -> AsyncIterator[None]:
    started = asyncio.Event()
    task = asyncio.ensure_future(host.run(order, started=started.set))
    try:
        await started.wait()
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def answer(port: int) -> str:
    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/name") as found:
            text: str = found.read().decode()
            return text

    while True:
        with contextlib.suppress(ConnectionError, urllib.error.URLError):
            return await asyncio.to_thread(ask)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("server", [("busybox", "httpd", "-f", "-p", str(ASKED), "-h", "/"), (sys.executable, "-m", "http.server", str(ASKED), "-d", "/")])
def test_two_servers_of_the_same_port_run_beside_each_other(tmp_path: Path, server: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), opened_host(tmp_path / "host", network=True) as host, contextlib.AsyncExitStack() as all_of_them:
            ports = {name: free_port() for name in ("one", "two")}
            for name, port in ports.items():
                started = order(tmp_path, name, *server, port=port)
                (tmp_path / name / "name").write_text(name)
                await all_of_them.enter_async_context(running(host, started))
            for name, port in ports.items():
                assert await answer(port) == name
                # By another program in its pod, at the port that it knows.
                fetch = f"import urllib.request as u; print(u.urlopen('http://localhost:{ASKED}/name').read().decode())"
                assert (await host.run(order(tmp_path, name, sys.executable, "-c", fetch, port=port))).code == 0
                assert (tmp_path / f"{name}.log").read_text().rstrip().endswith(name)

    asyncio.run(scenario())


def test_a_port_that_somebody_has_is_refused_as_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), opened_host(tmp_path / "host", network=True) as host:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                bind = f"import socket; socket.socket().bind(('127.0.0.1', {ASKED}))"
                answered = await host.run(order(tmp_path, "one", sys.executable, "-c", bind, port=taken.getsockname()[1]))
        assert answered.code == 1
        assert "Address already in use" in (tmp_path / "one.log").read_text()

    asyncio.run(scenario())


def test_a_host_with_a_lock_waits_until_nothing_is_left_of_the_one_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        lock = tmp_path / "lock"
        async with asyncio.timeout(60), contextlib.AsyncExitStack() as first:
            host = await first.enter_async_context(opened_host(tmp_path / "first", network=True, lock=lock))
            async with running(host, order(tmp_path, "long", "sleep", "60", port=free_port())):
                # The host and its guard, and no pod.
                assert (await host.run(order(tmp_path, "one", "true", port=free_port()))).code == 0
                assert _holders(lock) == 2
            waiting = asyncio.ensure_future(_opened(tmp_path / "second", lock))
            assert (await host.run(order(tmp_path, "one", "true", port=free_port()))).code == 0
            assert not waiting.done()
            await first.aclose()
            await waiting
        with pytest.raises(ExecutionError, match="pods-unavailable"):
            await host.run(order(tmp_path, "one", "true", port=free_port()))

    asyncio.run(scenario())


def _holders(file: Path) -> int:
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += any(os.path.realpath(one) == str(file) for one in (process / "fd").iterdir())
    return found


async def _opened(scratch: Path, lock: Path) -> None:
    async with opened_host(scratch, network=True, lock=lock):
        pass
