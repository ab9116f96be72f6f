"""Orders to the process that runs pods: cancelled once and twice, and when that process dies."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.pod_host import Order
from pachyderm_dagster.errors import ExecutionError


def with_host(folder: Path, scenario: Callable[[HostClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), opened_host(folder / "host", network=False) as host:
            await scenario(host)

    asyncio.run(main())


def order(folder: Path, name: str, *argv: str) -> Order:
    root = folder / name
    root.mkdir()
    return Order(0, str(root), argv, {"PATH": "/usr/bin:/bin"}, log=str(folder / f"{name}.log"))


async def running(host: HostClient, order: Order) -> "asyncio.Task[object]":
    """A container whose program runs."""
    started = asyncio.Event()
    task: asyncio.Task[object] = asyncio.ensure_future(host.run(order, started=started.set))
    await started.wait()
    return task


def test_a_call_that_is_cancelled_twice_ends_its_container_and_no_other_one_hangs(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        stubborn = await running(host, order(tmp_path, "a", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"))
        stubborn.cancel()
        await asyncio.sleep(0)
        stubborn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stubborn
        assert (await host.run(order(tmp_path, "b", "sh", "-c", "exit 3"))).code == 3

    with_host(tmp_path, scenario)


def test_when_the_host_dies_what_runs_and_what_is_still_to_run_says_so(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        waiting = await running(host, order(tmp_path, "a", "sleep", "1000"))
        host._process.kill()
        with pytest.raises(ExecutionError, match="pods-unavailable"):
            await waiting
        with pytest.raises(ExecutionError, match="the process that runs pods has ended"):
            await host.run(order(tmp_path, "b", "true"))

    with_host(tmp_path, scenario)


def test_a_cancel_while_the_host_dies_ends(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        waiting = await running(host, order(tmp_path, "a", "sleep", "1000"))
        host._process.kill()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with_host(tmp_path, scenario)
