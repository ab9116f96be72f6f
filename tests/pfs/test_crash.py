"""Kill -9 at any moment loses no finished commit and leaves the home usable."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pachyderm_dagster.workspace import open_workspace

# Writes numbered commits, one-off and staged in turn, and says so only after each is finished.
WRITER = """
import os, sys
from pachyderm_dagster.workspace import open_workspace
pfs = open_workspace(os.environ).pfs
for number in range(int(sys.argv[1]), 100_000):
    if number % 2:
        pfs.start_commit("data@master")
    with pfs.modify_file("data@master") as files:
        files.put_bytes(f"/{number}", b"%d" % number)
        files.put_bytes("/large", bytes([number % 251]) * 1_200_000)
    if number % 2:
        pfs.finish_commit("data@master")
    print(number, pfs.inspect_commit("data@master").id, flush=True)
"""


@pytest.mark.parametrize("commits_before_the_kill", [1, 4, 7])
def test_killed_writer_loses_no_finished_commit(tmp_path: Path, metadata_url: str, commits_before_the_kill: int) -> None:
    environ = {"PACHYDERM_HOME": str(tmp_path / "home"), "PACHYDERM_METADATA_URL": metadata_url}
    pfs = open_workspace(environ).pfs
    pfs.create_repo("data")
    told: dict[int, str] = {}
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(len(told))], env=os.environ | environ, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(commits_before_the_kill):
            line = writer.stdout.readline().split()
            told[int(line[0])] = line[1]
        writer.send_signal(signal.SIGKILL)
        # What it said between our last look and its end was finished too.
        for words in map(str.split, writer.stdout.read().splitlines()):
            if len(words) == 2 and len(words[1]) == 32:
                told[int(words[0])] = words[1]
        writer.wait()
        writer.stdout.close()
        head = pfs.inspect_commit("data@master")
        if head.finished is None:
            pfs.finish_commit("data@master")
        for number, commit in told.items():
            assert b"".join(pfs.get_file(f"data@{commit}:/{number}")) == b"%d" % number
            assert b"".join(pfs.get_file(f"data@{commit}:/large")) == bytes([number % 251]) * 1_200_000
    pfs.database.close()


# Writers that meet on one branch, so that several commits share a pack and a transaction.
WRITERS = """
import os, sys, threading
from pachyderm_dagster.workspace import open_workspace
pfs = open_workspace(os.environ).pfs
lock = threading.Lock()
def write(writer):
    for number in range(int(sys.argv[1]), 100_000):
        path = f"/{writer}-{number}"
        with pfs.modify_file("data@master") as files:
            files.put_bytes(path, path.encode())
        with lock:
            print(path, files.commit.id, flush=True)
for writer in range(8):
    threading.Thread(target=write, args=(writer,)).start()
"""


@pytest.mark.parametrize("commits_before_the_kill", [1, 20])
def test_killed_group_of_writers_loses_no_finished_commit(tmp_path: Path, metadata_url: str, commits_before_the_kill: int) -> None:
    environ = {"PACHYDERM_HOME": str(tmp_path / "home"), "PACHYDERM_METADATA_URL": metadata_url}
    pfs = open_workspace(environ).pfs
    pfs.create_repo("data")
    told: dict[str, str] = {}
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITERS, str(len(told))], env=os.environ | environ, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(commits_before_the_kill):
            path, commit = writer.stdout.readline().split()
            told[path] = commit
        writer.send_signal(signal.SIGKILL)
        for words in map(str.split, writer.stdout.read().splitlines()):
            if len(words) == 2 and len(words[1]) == 32:
                told[words[0]] = words[1]
        writer.wait()
        writer.stdout.close()
    for path, commit in told.items():
        assert b"".join(pfs.get_file(f"data@{commit}:{path}")) == path.encode()
        assert b"".join(pfs.get_file(f"data@master:{path}")) == path.encode()
    with pfs.modify_file("data@master") as files:
        files.put_bytes("/after", b"x")
    pfs.database.close()
