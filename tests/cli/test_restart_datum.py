"""`restart datum`, on a job that runs."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Pachctl


class Stuck:
    """A job with datums that are well and one, `stuck`, of which the first try never ends; the second one does."""

    def __init__(self, pachctl: Pachctl, home: Path, folder: Path) -> None:
        self._home, self._reached = home, folder / "reached"
        os.mkfifo(self._reached)
        seen = f"while ! ls {home}/scratch/run-*/worker-*/live-* > /dev/null 2>&1; do sleep 0.05; done; echo here > {self._reached}"
        script = f"case $data in */stuck) if mkdir {folder}/once; then {seen}; sleep 600; fi;; esac; cp $data $PFS_ROOT/out/"
        spec = {"pipeline": {"name": "work"}, "input": {"pfs": {"repo": "data", "glob": "/*"}}, "transform": {"cmd": ["sh", "-c", script]}, "datum_tries": 1}
        (folder / "spec.json").write_text(json.dumps(spec))
        pachctl("create", "repo", "data")
        pachctl.put("data@master:/well", "w")
        pachctl("create", "pipeline", "-f", str(folder / "spec.json"))
        self._run()
        self.id = pachctl.put("data@master:/stuck", "s")
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._reached.read_text() == "here\n"

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        with closing(open_workspace({"PACHYDERM_HOME": str(self._home)})) as workspace, LocalExecutor(os.environ) as executor:
            with workspace.database.read() as txn:
                (job,) = jobs.list_job(txn, unfinished_only=True)
            run_job(workspace, job, executor=executor)


@pytest.fixture
def stuck(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> Iterator[Stuck]:
    job = Stuck(pachctl, environment_of_its_own, tmp_path)
    job.start()
    yield job
    pachctl.run("stop", "job", f"work@{job.id}")
    job.join()


def test_datum_that_is_stuck_runs_again_in_the_same_job(stuck: Stuck, pachctl: Pachctl) -> None:
    (asked,) = pachctl("restart", "datum", f"work@{stuck.id}", "/stuck", "-o", "json").documents
    assert (asked["files"][0].rpartition(":")[2], asked["state"]) == ("/stuck", "STARTING")
    stuck.join()
    job = pachctl("inspect", "job", f"work@{stuck.id}", "-o", "json").document
    assert (job["state"], job["restarts"], job["data_processed"], job["data_skipped"]) == ("SUCCESS", 1, 1, 1)
    assert pachctl("get", "file", "work@master:/stuck").out == "s"
    assert pachctl.fail("restart", "datum", f"work@{stuck.id}", "/stuck") == "job-finished"


def test_what_does_not_run_is_refused_and_what_runs_is_named(stuck: Stuck, pachctl: Pachctl) -> None:
    answer = pachctl.run("restart", "datum", f"work@{stuck.id}", "/stuck,/well")
    assert answer.code == "datum-not-running"
    assert "1 run: " in answer.err
    assert ":/stuck)" in answer.err
    assert pachctl.fail("restart-datum", f"work@{stuck.id}", "/nothing") == "datum-not-running"
    assert pachctl.fail("restart", "datum", "work@0123456789abcdef0123456789abcdef", "/stuck") == "job-not-found"


def test_job_that_has_not_begun_runs_nothing(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    job = Stuck(pachctl, environment_of_its_own, tmp_path)
    answer = pachctl.run("restart", "datum", f"work@{job.id}", "/stuck")
    assert answer.code == "datum-not-running"
    assert "none of its datums runs here now" in answer.err
