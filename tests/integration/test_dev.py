"""`pachyderm-dagster dev` as a whole: Dagster's processes, new pipelines, and that nothing stays behind."""

import itertools
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.cli.dev import dev
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.errors import ExecutionError, ExistsError, StateError
from pachyderm_dagster.integration.dev_processes import DevProcess, take_folder
from pachyderm_dagster.integration.run_due import run_due
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from tests.integration.gate import Gate
from tests.integration.home import Home
from tests.integration.served import Served

pytestmark = pytest.mark.timeout(240)
ONE_LINE = "echo a line | pachctl put file lines@master:/log -f -; exec sleep 600"


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    started = Served(home)
    with started.process:
        yield started
        started.process.kill()


def test_pipeline_made_while_it_runs_appears_with_its_first_result_and_nothing_stays_behind(home: Home, served: Served) -> None:
    assert served.line == f"Dagster runs at http://127.0.0.1:{served.port} for {home.workspace.settings.home}; Ctrl-C stops it\n"
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    commit = next(home.workspace.pfs.subscribe_commit("edges@master", stop=lambda: False))
    assert b"".join(home.workspace.pfs.get_file(f"edges@{commit.id}:/a")) == b"1"
    while not (assets := served.assets()).get("default/edges"):
        assert served.process.poll() is None
    assert assets["default/edges"] == [{"runId": home.jobs("edges")[0].run_id}]
    assert len(assets["default/images"]) == 1
    with pytest.raises(StateError, match="dev-running"):
        dev(home.environ, served.port + 1)
    assert home.workspace.leases.is_held(sensor_lease("default"))
    assert served.end(signal.SIGINT) == 0
    assert served.processes() == []
    assert not home.workspace.leases.is_held(sensor_lease("default"))
    assert not home.workspace.leases.is_held("dev")


def test_job_that_is_interrupted_by_the_end_is_done_by_the_next(home: Home, served: Served) -> None:
    gate = Gate(home)
    gate.wait()
    assert served.end(signal.SIGTERM) == 0
    assert served.processes() == []
    assert not home.jobs("edges")[0].state.is_terminal
    gate.open()
    assert run_due(home.workspace, home.environ, until=lambda: home.jobs("edges")[0].state.is_terminal)
    assert home.jobs("edges")[0].state is JobState.SUCCESS
    assert len(home.materializations("default", "edges")) == 1


def test_process_that_holds_the_definitions_is_started_again_when_it_is_killed(home: Home, served: Served) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    assert next(home.workspace.pfs.subscribe_commit("edges@master", stop=lambda: False)).finished
    # The new pipeline had the definitions loaded again; the former process ends by and by.
    while len(holders := [process for process, command in served.running().items() if " api grpc " in command]) != 1:
        assert served.process.poll() is None
    os.kill(holders[0], signal.SIGKILL)
    home.commit("images@master", {"/b": "2"})
    *_, last = itertools.islice(home.workspace.pfs.subscribe_commit("edges@master", stop=lambda: False), 2)
    assert b"".join(home.workspace.pfs.get_file(f"edges@{last.id}:/b")) == b"2"
    assert served.end(signal.SIGINT) == 0
    assert served.processes() == []


def test_message_of_a_process_that_ended_is_one_line_with_the_next_step(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"])
    process.kill()
    process.wait()
    (tmp_path / "daemon.log").write_text("Traceback\n" * 100)
    with pytest.raises(ExecutionError) as caught:
        DevProcess("daemon", process, tmp_path / "daemon.log").check()
    expected = "the daemon was killed by signal 9 (often: no memory was left), and `dev` with it; start `dev` again, which goes on where it was."
    assert str(caught.value) == f"{expected} Its log: {tmp_path / 'daemon.log'} [service-ended]"


def test_spout_feeds_a_pipeline_and_ends_with_what_started_it(home: Home, served: Served) -> None:
    (spout,) = parse_specs('{"pipeline": {"name": "lines"}, "spout": {}, "transform": {"cmd": ["sh"], "stdin": [' + json.dumps(ONE_LINE) + "]}}", source="test")
    home.workspace.pps.create_pipeline(spout)
    home.pipeline("edges", "lines")
    # The first is for the empty repo.
    *_, last = itertools.islice(home.workspace.pfs.subscribe_commit("edges@master", stop=lambda: False), 2)
    assert b"".join(home.workspace.pfs.get_file(f"edges@{last.id}:/log")) == b"a line\n"
    while not (assets := served.assets()).get("default/lines"):
        assert served.process.poll() is None
    assert set(assets) == {"default/lines", "default/edges"}
    assert served.end(signal.SIGTERM) == 0
    assert served.processes() == []


def test_folder_of_sockets_that_was_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    left = Path(tempfile.mkdtemp(prefix="pachyderm-dagster-"))
    (left / "code").touch()
    (tmp_path / "folder").write_text(str(left))
    with take_folder(tmp_path) as folder:
        assert not left.exists()
        assert (tmp_path / "folder").read_text() == folder
        assert Path(folder).is_dir()


def test_note_of_another_folder_removes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "pachyderm-dagster-precious"
    precious.mkdir()
    (tmp_path / "folder").write_text(str(precious))
    take_folder(tmp_path).cleanup()
    assert precious.is_dir()


def test_taken_port_is_refused_before_anything_starts(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(ExistsError, match=rf"port {port} of 127.0.0.1 is taken.*\[port-taken\]"):
            dev(home.environ, port)
    assert not home.workspace.leases.is_held("dev")
