"""Daemons by their pid files, with real processes."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.processes import end, find_running, last_log_lines, start

SLEEPING = ["sleep", "1000"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end("one", folder=tmp_path)


def started(folder: Path, command: Sequence[str] = SLEEPING) -> bool:
    return start("one", command, folder=folder, logs=folder, group_files=[])


def pid_of(folder: Path) -> int:
    running = find_running("one", folder=folder)
    assert running is not None
    return running.pid


def has_ended(folder: Path) -> bool:
    return find_running("one", folder=folder) is None


def test_daemon_that_runs_is_not_started_again(folder: Path) -> None:
    assert started(folder)
    first = pid_of(folder)

    assert not started(folder)
    assert pid_of(folder) == first


def test_daemon_that_was_killed_is_started_again(folder: Path) -> None:
    started(folder)
    first = pid_of(folder)
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: has_ended(folder), seconds=10)

    assert started(folder)
    assert pid_of(folder) != first


def test_daemon_of_another_command_line_takes_the_place_of_the_first(folder: Path) -> None:
    started(folder)
    first = (folder / "one.pid").read_bytes()

    assert started(folder, ["sleep", "2000"])
    second = (folder / "one.pid").read_bytes()
    (folder / "one.pid").write_bytes(first)
    assert has_ended(folder)
    (folder / "one.pid").write_bytes(second)
    assert not has_ended(folder)


def test_pid_of_another_process_is_not_taken_for_the_daemon(folder: Path) -> None:
    started(folder)
    text = (folder / "one.pid").read_text()
    end("one", folder=folder)
    (folder / "one.pid").write_text(text.replace(f'"pid":{pid_in(text)}', f'"pid":{os.getpid()}'))

    assert find_running("one", folder=folder) is None


def pid_in(text: str) -> str:
    return text.partition('"pid":')[2].partition(",")[0]


def test_what_a_daemon_says_is_in_its_log(folder: Path) -> None:
    started(folder, ["sh", "-c", "echo told; exec sleep 1000"])

    assert wait_until(lambda: last_log_lines("one", logs=folder) == "told", seconds=10)
