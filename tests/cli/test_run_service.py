"""`run service`, and what commands show of services and spouts."""

import json
import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.executors.kept_processes import read_record, write_record
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Document, Pachctl, process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def create(pachctl: Pachctl, **fields: object) -> str:
    """What it said."""
    return pachctl("create", "pipeline", "-f", "-", stdin=json.dumps(fields).encode()).err


def create_spout(pachctl: Pachctl, folder: Path, name: str = "ticks") -> Path:
    """A spout that says who it is, and then writes to a pipe."""
    begun = folder / f"{name}-begun"
    os.mkfifo(begun)
    create(pachctl, pipeline={"name": name}, spout={}, transform={"cmd": ["sh", "-c", f"echo I am {name}; echo here > {begun}; exec sleep 600"]})
    return begun


def create_service(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "site")
    pachctl.put("site@master:/index", "x")
    serve = {"cmd": ["sh", "-c", "exec sleep 600"]}
    create(pachctl, pipeline={"name": "web"}, input={"pfs": {"repo": "site", "glob": "/"}}, service={"internal_port": free_port()}, transform=serve)


def state(pachctl: Pachctl) -> str:
    """Of the only pipeline."""
    (found,) = pachctl.json("list", "pipeline")
    assert found["state"] == inspect(pachctl, found["name"])["state"]
    return str(found["state"])


def inspect(pachctl: Pachctl, name: str) -> Document:
    return pachctl("inspect", "pipeline", name, "-o", "json").document


def test_spout_runs_until_the_command_is_interrupted(pachctl: Pachctl, tmp_path: Path) -> None:
    begun = create_spout(pachctl, tmp_path)
    assert inspect(pachctl, "ticks")["process"] == {
        "kept": False,
        "elsewhere": False,
        "runs": False,
        "pid": None,
        "started": None,
        "restarts": 0,
        "job": None,
        "port": None,
        "deployment": None,
        "service": None,
    }
    with process("run", "service") as running:
        assert begun.read_text() == "here\n"
        found = inspect(pachctl, "ticks")
        assert (found["type"], found["state"], found["input"]) == ("spout", "RUNNING", None)
        assert (found["process"]["kept"], found["process"]["runs"]) == (True, True)
        assert "Process: " in pachctl("inspect", "pipeline", "ticks").out
        assert pachctl("logs", "-p", "ticks").out == "I am ticks\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
        assert running.returncode == 0
    assert said.splitlines() == ["spout ticks: started"]
    assert inspect(pachctl, "ticks")["process"]["runs"] is False


def test_spout_that_another_machine_keeps_is_not_said_to_be_kept_by_nobody(pachctl: Pachctl, tmp_path: Path, environment_of_its_own: Path) -> None:
    begun = create_spout(pachctl, tmp_path)
    with process("run", "service") as running:
        assert begun.read_text() == "here\n"
        (path,) = environment_of_its_own.glob("**/process.json")
        record = read_record(path.parent)
        assert record is not None
        running.send_signal(signal.SIGTERM)
        running.wait()
    write_record(path.parent, msgspec.structs.replace(record, keeper=msgspec.structs.replace(record.keeper, place="another boot/1")))
    with closing(open_workspace(os.environ)) as workspace:
        assert workspace.leases.acquire(process_lease(int(path.parent.name)), record.owner, LEASE_TIME)
        assert state(pachctl) == "RUNNING"
    found = inspect(pachctl, "ticks")["process"]
    assert (found["kept"], found["elsewhere"]) == (True, True)
    assert "Process: kept by another machine or container" in pachctl("inspect", "pipeline", "ticks").out


def test_service_or_spout_whose_keeper_was_killed_is_no_longer_running(pachctl: Pachctl, tmp_path: Path) -> None:
    begun = create_spout(pachctl, tmp_path)
    assert state(pachctl) == "STANDBY"
    with process("run", "service") as running:
        assert begun.read_text() == "here\n"
        assert state(pachctl) == "RUNNING"
        running.kill()
        running.wait()
        # At once, though the lease of what was killed has not ended yet.
        found = inspect(pachctl, "ticks")
    assert (found["state"], found["process"]["kept"]) == ("STANDBY", False)
    assert found["reason"] == "nobody keeps its process; `pachyderm-dagster dev` or `pachctl run service ticks` does"
    assert pachctl.json("list", "pipeline", "--state", "running") == []
    assert "(STANDBY / -)" in pachctl("draw", "pipeline").out
    pachctl("stop", "pipeline", "ticks")
    assert state(pachctl) == "PAUSED"


def test_only_the_named_pipelines_are_kept(pachctl: Pachctl, tmp_path: Path) -> None:
    create_spout(pachctl, tmp_path, "other")
    begun = create_spout(pachctl, tmp_path)
    with process("run", "service", "ticks") as running:
        assert begun.read_text() == "here\n"
        assert inspect(pachctl, "other")["process"]["kept"] is False
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0


def test_what_is_no_service_is_refused(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    create(pachctl, pipeline={"name": "copy"}, input={"pfs": {"repo": "data", "glob": "/"}}, transform={"cmd": ["true"]})
    assert pachctl.fail("run", "service", "copy") == "not-a-service"
    assert pachctl.fail("run", "service", "nothing") == "pipeline-not-found"


def test_lines_of_logs_name_the_pipeline_and_no_datum(pachctl: Pachctl, tmp_path: Path) -> None:
    begun = create_spout(pachctl, tmp_path)
    with process("run", "service") as running:
        begun.read_text()
        running.send_signal(signal.SIGTERM)
        running.wait()
    (line,) = pachctl.json("logs", "-p", "ticks")
    assert {name: line[name] for name in ("pipeline", "project", "job", "datum", "inputs", "message")} == {
        "pipeline": "ticks",
        "project": "default",
        "job": None,
        "datum": None,
        "inputs": [],
        "message": "I am ticks",
    }
    assert pachctl("logs", "-p", "ticks", "--since", "0.001s").out == ""


def test_creating_one_says_what_runs_it_and_what_means_nothing(pachctl: Pachctl) -> None:
    said = create(pachctl, pipeline={"name": "ticks"}, spout={}, transform={"cmd": ["true"]}, datum_tries=2)
    assert "note: 'ticks' runs its command on this machine; not used there: datum_tries" in said
    assert "note: spout 'ticks' runs under `pachyderm-dagster dev`, or `pachctl run service ticks`" in said


def test_waiting_for_a_set_leaves_services_out(pachctl: Pachctl) -> None:
    create_service(pachctl)
    commit = pachctl.put("site@master:/index", "y")
    assert [found["repo"] for found in pachctl.json("wait", "commit", commit)] == ["site"]
    pachctl("flush", "commit", "site@master")
    answer = pachctl.run("wait", "commit", "web@master", "--timeout", "0.1s")
    assert answer.code == "wait-timeout"
    assert "which ends when its pipeline's next commit comes: `pachctl stop job web@" in answer.err


def test_spout_has_no_datums(pachctl: Pachctl) -> None:
    create(pachctl, pipeline={"name": "ticks"}, spout={}, transform={"cmd": ["true"]})
    assert pachctl.fail("list", "datum", "-p", "ticks") == "no-input"
    assert [line.split()[3] for line in pachctl("list", "pipeline").out.splitlines()] == ["INPUT", "-"]


@pytest.mark.parametrize("state", ["crashing", "running", "standby"])
def test_pipelines_are_chosen_by_state(pachctl: Pachctl, state: str) -> None:
    create(pachctl, pipeline={"name": "ticks"}, spout={}, transform={"cmd": ["true"]})
    assert len(pachctl.json("list", "pipeline", "--state", state)) == (state == "standby")
