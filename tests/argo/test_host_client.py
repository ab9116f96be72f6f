"""Orders to the process that runs pods: cancelled once and twice, what cannot run, and when that process dies; and what a pod sees of others."""

import asyncio
import fcntl
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pachyderm_dagster.argo import pod_host
from pachyderm_dagster.argo.host_client import HostClient, opened_host
from pachyderm_dagster.argo.pod_orders import READY, Order, answer_of
from pachyderm_dagster.argo.running_pods import _READ_BYTES
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


def test_a_pod_that_is_to_end_before_it_was_started_ends(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        ended = host._expect(101)
        # Both are read at once.
        host._send(order(tmp_path, "a", "sleep", "1000").line(101, tells_start=False) + Order(101).line(101, tells_start=False))
        assert (await ended).code == 128 + signal.SIGKILL

    with_host(tmp_path, scenario)


def test_what_the_host_has_open_no_program_has(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        others = [await running(host, order(tmp_path, f"other{number}", "sleep", "1000")) for number in range(3)]
        for name, ports in (("a", ()), ("b", ((8080, 18080),))):
            one = order(tmp_path, name, "sh", "-c", "ls /proc/1/fd")
            one.ports, one.result = ports, str(tmp_path / f"{name}.result")
            assert (await host.run(one)).code == 0
            assert (tmp_path / f"{name}.result").read_text().split() == ["0", "1", "2"]
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    with_host(tmp_path, scenario)


def test_a_pod_sees_its_own_processes_and_mounts_and_no_other_ones(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        one = order(tmp_path, "a", "sh", "-c", "echo /proc/[0-9]*; cut -d' ' -f5 /proc/self/mountinfo")
        assert (await host.run(one)).code == 0
        processes, root, *mounts = (tmp_path / "a.log").read_text().splitlines()
        assert processes == "/proc/1"
        assert root == "/"
        assert mounts.count("/") == 0 and mounts.count("/proc") == 1

    with_host(tmp_path, scenario)


def test_a_variable_that_no_program_can_be_given_is_told(tmp_path: Path) -> None:
    async def scenario(host: HostClient) -> None:
        one = order(tmp_path, "a", "true")
        one.environment = {"PATH": "/usr/bin:/bin", "TEXT": "a\0b"}
        assert "null byte" in (await host.run(one)).problem
        assert (await host.run(order(tmp_path, "b", "true"))).code == 0

    with_host(tmp_path, scenario)


def test_pods_run_for_a_user_who_is_not_root_where_there_are_user_namespaces(tmp_path: Path) -> None:
    argv = ("unshare", "--user", "--map-user=1000", "--map-group=1000", sys.executable, "-m", pod_host.__name__, str(tmp_path / "host"), "no-network")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdin is not None and host.stdout is not None
        host.stdin.write(order(tmp_path, "a", "sh", "-c", "id -u; echo /proc/[0-9]*").line(1, tells_start=False))
        host.stdin.flush()
        answers = [answer_of(host.stdout.readline()) for _ in range(2)]
        host.stdin.close()
    assert [(answer.id, answer.code, answer.problem) for answer in answers] == [(READY, 0, ""), (1, 0, "")]
    assert (tmp_path / "a.log").read_text() == "1000\n/proc/1\n"


@pytest.mark.parametrize(("base", "prefix"), [("python", "python/venv"), ("venv/python", "venv"), ("python", "python")])
def test_a_folder_of_python_may_lie_in_the_other(tmp_path: Path, base: str, prefix: str) -> None:
    for name in (base, prefix):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    places = f"sys.base_prefix, sys.prefix = {str(tmp_path / base)!r}, {str(tmp_path / prefix)!r}"
    program = f"import sys; {places}; from pachyderm_dagster.argo import pod_host; sys.exit(pod_host.main({str(tmp_path / 'host')!r}, 'network'))"
    said = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
    assert answer_of(said).problem == ""
