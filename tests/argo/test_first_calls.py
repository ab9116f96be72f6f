"""Processes whose first calls are written down: what they call, what is told of it, and which program they become."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from pachyderm_dagster.argo.first_calls import Call, FirstCalls
from pachyderm_dagster.kernel import is_linux

pytestmark = pytest.mark.skipif(not is_linux(), reason="what they call is Linux's")


def program(path: str, *arguments: str) -> Call:
    texts = [os.fsencode(one) for one in (path, *arguments)]
    return Call("execve", (texts[0], (ctypes.c_char_p * (len(texts) + 1))(*texts), (ctypes.c_char_p * 1)()))


def end_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_calls_are_made_in_their_order_by_the_new_process_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    here = os.getcwd()
    before = [Call("chdir", (os.fsencode(tmp_path / "a"),)), Call("mkdir", (b"b", 0o755)), Call("chdir", (b"b",)), Call("mkdir", (b"c", 0o755))]
    started = FirstCalls().start(0, before, [program("/bin/sh", "-c", "test -d c")])
    assert (started.problem, started.refused, end_of(started.pid)) == (0, 0, 0)
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert os.getcwd() == here


def test_the_first_program_that_can_be_run_is_run(tmp_path: Path) -> None:
    started = FirstCalls().start(0, [], [program(str(tmp_path / "missing")), program("/bin/sh", "-c", "exit 3"), program("/bin/sh", "-c", "exit 4")])
    assert (started.problem, started.refused, end_of(started.pid)) == (0, 0, 3)


def test_no_program_and_a_call_that_fails_are_told_apart(tmp_path: Path) -> None:
    first_calls = FirstCalls()
    (tmp_path / "text").write_text("")
    for path, expected in ((tmp_path / "missing", errno.ENOENT), (tmp_path / "text", errno.EACCES)):
        started = first_calls.start(0, [], [program(str(path))])
        assert (started.problem, started.refused, end_of(started.pid)) == (0, expected, 1)
    started = first_calls.start(0, [Call("chdir", (os.fsencode(tmp_path / "missing"),)), Call("setsid")], [program("/bin/sh", "-c", "exit 3")])
    assert (started.problem, started.refused, end_of(started.pid)) == (errno.ENOENT, 0, 3)


def test_many_starts_leave_no_descriptor_and_no_memory_behind() -> None:
    first_calls = FirstCalls()

    def start() -> None:
        assert end_of(first_calls.start(0, [Call("setsid")], [program("/bin/true")]).pid) == 0

    start()
    open_before, places = len(os.listdir("/proc/self/fd")), len(first_calls._written)
    for _ in range(50):
        start()
    assert (len(os.listdir("/proc/self/fd")), len(first_calls._written)) == (open_before, places)
