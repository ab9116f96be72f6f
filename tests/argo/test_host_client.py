"""Orders to the process that runs pods: cancelled once and twice, what cannot run, and when that process dies; and what that process has loaded."""

import asyncio
import fcntl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import pachyderm_dagster
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.pod_forks import _READ_BYTES
from pachyderm_dagster.argo.pod_orders import Order, answer_of
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


def test_a_pod_that_starts_while_another_fails_is_not_asked_what_that_one_was_about_to_say(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        stdin = host._process.stdin
        assert stdin is not None
        fcntl.fcntl(stdin.transport.get_extra_info("pipe"), fcntl.F_SETPIPE_SZ, 1 << 20)
        fails, other, last = order(tmp_path, "a", "missing"), order(tmp_path, "b", "sleep", "1000"), order(tmp_path, "c", "sleep", "1000")
        other.ports = last.ports = [(8080, 18080)]
        failed = host._expect(101)
        first = fails.line(101, tells_start=True)
        # The last order is read by the host only when it has started the others, and together with the end of the first one.
        other.environment = {"FILLER": ""}
        filler = _READ_BYTES - len(first) - len(other.line(102, tells_start=False))
        other.environment = {"FILLER": "x" * filler}
        stdin.write(first + other.line(102, tells_start=False) + last.line(103, tells_start=False))
        assert "'missing' is not on this machine" in (await failed).problem
        assert (await host.run(order(tmp_path, "d", "true"))).code == 0

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


def test_a_program_that_may_not_be_run_is_told_by_its_path_and_one_further_on_runs(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        for name in ("a", "b"):
            (tmp_path / name / "own").mkdir(parents=True)
            (tmp_path / name / "own" / "true").write_text("")
        refused = Order(0, str(tmp_path / "a"), ("true",), {"PATH": "/nowhere:/own"}, log=str(tmp_path / "log"))
        assert (await host.run(refused)).problem == "/own/true: Permission denied"
        found = Order(0, str(tmp_path / "b"), ("true",), {"PATH": "/own:/usr/bin:/bin"}, log=str(tmp_path / "log"))
        answer = await host.run(found)
        assert (answer.problem, answer.code) == ("", 0)
        missing = Order(0, str(tmp_path / "b"), ("nothing",), {"PATH": "/own:/usr/bin"}, log=str(tmp_path / "log"))
        assert (await host.run(missing)).problem == "the program 'nothing' is not on this machine"

    with_host(tmp_path, scenario)


def test_what_forks_pods_has_loaded_nothing_that_makes_forks_slow() -> None:
    place = Path(pachyderm_dagster.__file__).parents[1]
    program = f"import sys; sys.path.append({str(place)!r}); import pachyderm_dagster.argo.pod_forks; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-s", "-P", "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "pachyderm_dagster.argo.pod_root" in loaded
    # Not `socket`, which pods with ports take: a fork was measured with it and without, and took the same.
    assert not {"asyncio", "dataclasses", "inspect", "msgspec", "pathlib", "platform", "subprocess", "threading"} & set(loaded)


@pytest.mark.parametrize(("base", "prefix"), [("python", "python/venv"), ("venv/python", "venv"), ("python", "python")])
def test_a_folder_of_python_may_lie_in_the_other(tmp_path: Path, base: str, prefix: str) -> None:
    for name in (base, prefix):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    places = f"sys.base_prefix, sys.prefix = {str(tmp_path / base)!r}, {str(tmp_path / prefix)!r}"
    program = f"import sys; {places}; from pachyderm_dagster.argo import pod_host; sys.exit(pod_host.main({str(tmp_path / 'host')!r}, 'network'))"
    said = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
    assert answer_of(said).problem == ""
