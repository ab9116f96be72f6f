"""Collection beside processes that write, and collectors that are killed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pachyderm_dagster.workspace import Workspace, open_workspace

LARGE = bytes(range(251)) * 5000

# Writes and drops the same few contents again and again, and says which commits it left.
WRITER = """
import os, sys
from pathlib import Path
from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.workspace import open_workspace
pfs = open_workspace(os.environ).pfs
branch = sys.argv[1]
large = bytes(range(251)) * 5000
for number in range(100_000):
    data = bytes([number % 3]) + large if number % 2 else b"%d" % number
    try:
        with pfs.modify_file(f"data@{branch}") as files:
            files.put_bytes(f"/{branch}", data)
    except ConflictError:
        continue
    commit = files.commit.id
    if number % 3 == 0:
        pfs.drop_commit(f"data@{commit}")
    else:
        print(commit, number, flush=True)
"""

# Collects again and again; with an argument it ends the claims of those before it, which were killed.
COLLECTOR = """
import datetime as dt, os, sys
import sqlalchemy as sa
from pachyderm_dagster.metadata import tables as t
from pathlib import Path
from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.workspace import open_workspace
workspace = open_workspace(os.environ)
with workspace.database.engine.begin() as connection:
    connection.execute(sa.delete(t.lease)) if sys.argv[1:] else None
print("ready", flush=True)
while True:
    try:
        freed = workspace.collect_garbage(grace=dt.timedelta(0)).freed
        print(freed.objects, flush=True)
    except ConflictError as error:
        assert error.code == "collection-running", error
        print("busy", flush=True)
"""


@pytest.fixture
def place() -> Iterator[Workspace]:
    opened = open_workspace(os.environ)
    opened.pfs.create_repo("data")
    yield opened
    opened.close()


def start(script: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True)


def lines(process: "subprocess.Popen[str]", number: int) -> list[list[str]]:
    assert process.stdout is not None
    return [process.stdout.readline().split() for _ in range(number)]


def end(process: "subprocess.Popen[str]") -> list[list[str]]:
    """Kills it; what it had said beyond what was read, without a line cut short."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    return rest


def test_processes_that_write_lose_nothing_to_collectors_that_are_killed(place: Workspace) -> None:
    writers = {branch: start(WRITER, branch) for branch in ("a", "b")}
    told: dict[str, list[list[str]]] = {branch: lines(writer, 2) for branch, writer in writers.items()}
    chance = random.Random(7)
    for _ in range(6):
        collector = start(COLLECTOR, "alone")
        lines(collector, 1)
        for branch, writer in writers.items():
            told[branch] += lines(writer, chance.randint(1, 4))
        end(collector)
    for branch, writer in writers.items():
        told[branch] += end(writer)
    with open_again() as fresh:
        for branch, commits in told.items():
            for commit, number in commits:
                data = bytes([int(number) % 3]) + LARGE if int(number) % 2 else b"%d" % int(number)
                assert b"".join(fresh.pfs.get_file(f"data@{commit}:/{branch}")) == data


def test_two_collectors_take_turns(place: Workspace) -> None:
    collectors = [start(COLLECTOR) for _ in range(2)]
    said = [word for collector in collectors for line in lines(collector, 6) for word in line]
    for collector in collectors:
        end(collector)
    assert set(said) <= {"ready", "busy", "0"}


class open_again:
    """Another process's view of a home."""

    def __init__(self) -> None:
        self._opened = open_workspace(os.environ)

    def __enter__(self) -> Workspace:
        return self._opened

    def __exit__(self, *_: object) -> None:
        self._opened.close()
