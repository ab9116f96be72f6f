"""`pachyderm-dagster react` as a process beside Dagster's own: what it needs, how it ends, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.coordination.drivers import SENSOR_OWNER
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import asked_lease, reactor_lease
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.integration import react as reacting
from pachyderm_dagster.integration.commit_events import commit_id_of
from pachyderm_dagster.integration.react import react
from pachyderm_dagster.pps.model import JobState
from tests.integration.home import Home
from tests.integration.test_assets import spec

pytestmark = pytest.mark.timeout(300)
CLONE = Path(__file__).resolve().parents[2]
# No daemon is up that would take runs from a queue; a code server that is left to itself would be told of in some later test.
CONFIG = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
code_servers: {wait_for_local_processes_on_shutdown: true}
"""
CODE = "import dagster as dg\nfrom pachyderm_dagster.integration import pachyderm_assets\ndefinitions = pachyderm_assets(%r)\n"


class Project:
    """A user's project in a folder of its own, and `react` for it."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder
        folder.mkdir()
        (home.workspace.settings.dagster_home / "dagster.yaml").write_text(CONFIG)
        (folder / "pipelines.json").write_text(json.dumps(spec("edges", "images")))
        (folder / "library.py").write_text(CODE % str(folder / "pipelines.json"))
        self.environ = {**home.environ, "DAGSTER_HOME": str(home.workspace.settings.dagster_home), "PYTHONPATH": str(CLONE)}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A process that reacts; this returns when it says so."""
        command = [sys.executable, "-m", "pachyderm_dagster", "react", "-f", "library.py", *words]
        process = subprocess.Popen(command, cwd=self.folder, env=self.environ, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("Reacts to commits of default"):
            assert line, "it ended"
        return process

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture
def project(home: Home, tmp_path: Path) -> Iterator[Project]:
    home.commit("images@master", {"/first": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    home.workspace.leases.release(asked_lease("default"), SENSOR_OWNER)
    made = Project(home, tmp_path / "library")
    yield made
    made.end()


def wait_done(home: Home, number: int) -> None:
    """Until a pipeline has so many outputs."""
    outputs = home.workspace.pfs.subscribe_commit("edges@master", stop=lambda: False)
    for _ in range(number):
        assert next(outputs).error is None


def test_instant_work_goes_on_where_a_killed_one_was_and_ends_cleanly(home: Home, project: Project) -> None:
    process = project.start("--instant")
    home.commit("images@master", {"/a": "1"})
    wait_done(home, 2)
    process.kill()
    process.wait()
    assert home.workspace.leases.is_held(reactor_lease("default"))
    home.commit("images@master", {"/b": "1"})
    # Its claim is waited for.
    again = project.start("--instant")
    wait_done(home, 3)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 130
    assert not home.workspace.leases.is_held(reactor_lease("default"))
    assert {job.state for job in home.jobs("edges")} == {JobState.SUCCESS}
    home.run_all()
    newest, killed, first = (job.id for job in home.jobs("edges"))
    told = [commit_id_of(one) for one in home.materializations("default", "edges")]
    # Killed between a job and telling Dagster of it, the first process may have told nothing, and behind a later version an earlier one is not told.
    assert {newest, first} <= set(told) <= {newest, killed, first}
    # Dagster 1.12 stores an event and its tags in two transactions: one that was killed between them is told of again.
    assert len(told) == len(set(told)) or dg.__version__.startswith("1.12.")


def test_what_is_missing_is_told(home: Home, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(options: dict[str, object], **environ: str) -> None:
        react({**project.environ, **environ}, options, is_instant=False, tell=print)

    (tmp_path / "none.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    (tmp_path / "broken.py").write_text("raise ValueError('not today')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateError, match=r"DAGSTER_HOME is not set.*dagster-home-unset"):
        refused({}, DAGSTER_HOME="")
    with pytest.raises(StateError, match=r"nowhere, which is no folder.*dagster-home-unset"):
        refused({}, DAGSTER_HOME=str(tmp_path / "nowhere"))
    with pytest.raises(InvalidError, match="name the code as for `dagster dev`.*workspace-unknown"):
        refused({})
    with pytest.raises(NotFoundError, match=r"none.py has no pipelines.*code-without-pipelines"):
        refused({"python_file": ["none.py"]})
    with pytest.raises(NotFoundError, match="broken.py cannot be loaded: ValueError: not today"):
        refused({"python_file": ["broken.py"]})


def test_second_one_waits_for_a_claim_and_is_refused(home: Home, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reacting, "CLAIM_SECONDS", 0.0)
    said: list[str] = []
    file = str(project.folder / "library.py")
    assert home.workspace.leases.acquire(reactor_lease("default"), "another", 10 * LEASE_TIME)
    with pytest.raises(StateError, match="reactor-running"):
        react({**os.environ, **project.environ}, {"python_file": [file]}, is_instant=False, tell=said.append)
