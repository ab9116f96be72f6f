"""`run datum`: one datum here and now."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, since user code prints past what a test can catch in this one."""
    return subprocess.run([sys.executable, "-m", "pachyderm_dagster", "run", "datum", *words], capture_output=True, text=True, check=False)


def stored(home: Path) -> list[str]:
    return sorted(str(path) for path in home.rglob("objects/**/*") if path.is_file())


def test_datum_is_run_and_nothing_is_left_but_what_is_asked_for(worked: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    jobs, objects = worked.json("list", "job"), stored(environment_of_its_own)
    assert objects
    done = run("count", "/hamlet", "-o", str(tmp_path / "made"))
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()] == [["SIZE", "NAME"], ["2B", "/hamlet"]]
    assert done.stderr.startswith("counting /pfs/books/hamlet\n")
    assert (tmp_path / "made" / "hamlet").read_text() == "6\n"
    assert (worked.json("list", "job"), stored(environment_of_its_own)) == (jobs, objects)
    assert list((environment_of_its_own / "scratch").iterdir()) == []


def test_exit_status_is_that_of_the_command(worked: Pachctl) -> None:
    done = run("loud", "/bad")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "this is bad\nerror: 'sh' ended with exit code 3; its last output: this is bad [command-failed]\n"
    other = run("count", "books:/hamlet", "--cmd", "sh -c 'cat $books; kill -9 $$'")
    assert other.returncode == 137
    assert other.stderr.startswith("to be or not to beerror: ")
    missing = run("count", "/hamlet", "--cmd", "no-such-program")
    assert (missing.returncode, "command-not-found" in missing.stderr) == (1, True)


def test_result_is_a_document(worked: Pachctl) -> None:
    (id, *_) = [datum["id"] for datum in worked.json("list", "datum", "-p", "count") if datum["files"][0].endswith("/hamlet")]
    found = json.loads(run("count", id[:10], "--cmd", "sh -c 'ln -s $books /pfs/out/same'", "--raw").stdout)
    assert (found["datum"], found["state"], found["exit_code"], found["outputs"]) == (id, "SUCCESS", 0, [{"path": "/same", "size_bytes": 18}])


def test_what_cannot_be_run_is_refused(worked: Pachctl) -> None:
    assert worked.fail("run", "datum", "count", "/nothing") == "datum-not-found"
    assert worked.fail("run", "datum", "none", "/hamlet") == "pipeline-not-found"
    assert "terminal" in worked.misuse("run", "datum", "count", "/hamlet", "--shell")
    worked.misuse("run", "datum", "count", "/hamlet", "--shell", "--cmd", "true")
    worked.misuse("run", "datum", "count", "/hamlet", "--cmd", "'open")


def test_shell_is_where_the_command_would_be(worked: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-m", "pachyderm_dagster", "run", "datum", "count", "/hamlet", "--shell"])
    os.write(terminal, b"cat /pfs/books/hamlet; echo; echo job $PPS_PIPELINE_NAME; echo new > /pfs/out/new; exit 5\n")
    said = b""
    try:
        while piece := os.read(terminal, 1024):
            said += piece
    except OSError:
        # How a terminal says that nobody is behind it any more.
        pass
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 5
    lines = said.decode().replace("\r", "").splitlines()
    assert any(line.endswith("to be or not to be") for line in lines)  # behind a prompt, perhaps
    assert "job count" in lines
    assert "4B   /new" in lines
