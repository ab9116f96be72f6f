"""`logs`, and what is seen of datums, while a job runs and afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.job_thread import JobThread
from tests.cli.pachctl import Pachctl


class RunningJob(JobThread):
    """A job of two datums, of which the slow one has printed a line and waits until `let_go`."""

    def __init__(self, pachctl: Pachctl, home: Path, folder: Path) -> None:
        self._open = folder / "open"
        wait = f"while ! test -e {self._open}; do sleep 0.05; done"
        script = f'echo reading $(basename $data); case $data in */slow) echo "begun"; {{here}}; {wait}; echo over;; esac; cp $data $PFS_ROOT/out/'
        super().__init__(pachctl, home, folder, script, ("/quick", "/slow"))

    def let_go(self) -> None:
        self._open.touch()


@pytest.fixture
def running(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> Iterator[RunningJob]:
    job = RunningJob(pachctl, environment_of_its_own, tmp_path)
    job.start()
    yield job
    job.let_go()
    job.join()


def test_datum_that_runs_is_seen_with_its_output(running: RunningJob, pachctl: Pachctl) -> None:
    found = {datum["files"][0].rpartition("/")[2]: datum for datum in pachctl.json("list", "datum", f"work@{running.id}")}
    assert {name: datum["state"] for name, datum in found.items()} == {"quick": "SKIPPED", "slow": "STARTING"}
    assert found["slow"]["started"]
    assert "STARTING" in pachctl("inspect", "datum", f"work@{running.id}", found["slow"]["id"][:9]).out
    (shown,) = pachctl("inspect", "job", f"work@{running.id}", "-o", "json").document["running"]
    assert shown == {"datum": found["slow"]["id"], "started": found["slow"]["started"]}
    assert "slow" not in pachctl("logs", "-p", "work").out.splitlines()[0]
    lines = [json.loads(line) for line in pachctl("logs", "-j", f"work@{running.id}", "-o", "json").out.splitlines()]
    assert [(line["message"], line["datum"]) for line in lines] == [("reading slow", found["slow"]["id"]), ("begun", found["slow"]["id"])]
    assert lines[0]["inputs"] == found["slow"]["files"]
    assert pachctl("logs", "-j", f"work@{running.id}", "--inputs", "/quick").out == ""


def test_following_tells_each_line_once_from_while_it_ran_to_its_end(running: RunningJob, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is let go when `logs` has told what there was and looks again.
    monkeypatch.setattr("pachyderm_dagster.cli.logs.time.sleep", lambda _seconds: running.let_go())
    assert pachctl("logs", "-f", "-j", f"work@{running.id}").out.splitlines() == ["reading slow", "begun", "over"]


def test_stopped_job_keeps_what_its_datums_said(running: RunningJob, pachctl: Pachctl) -> None:
    pachctl("stop", "job", f"work@{running.id}")
    running.join()
    found = {datum["files"][0].rpartition("/")[2]: datum for datum in pachctl.json("list", "datum", f"work@{running.id}")}
    assert {name: datum["state"] for name, datum in found.items()} == {"quick": "SKIPPED", "slow": "FAILED"}
    assert found["slow"]["reason"] == "it ran and was broken off: a user stopped it"
    assert pachctl("logs", "-j", f"work@{running.id}").out.splitlines() == ["reading slow", "begun"]
    assert pachctl("get", "file", f"work.meta@{running.id}:/meta/{found['slow']['id']}/log").out == "reading slow\nbegun\n"


def test_lines_have_times_and_are_chosen_by_them(worked: Pachctl) -> None:
    lines = worked.json("logs", "-p", "count")
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)
    (job,) = worked.json("inspect", "job", "count@master")
    assert job["started"] <= lines[-1]["ts"] <= job["finished"]
    assert len(worked("logs", "-p", "count", "--since", "24h").out.splitlines()) == 3
    assert worked("logs", "-p", "count", "--since", "1ms").out == ""
    assert worked("logs", "-p", "count", "-t", "1", "--timestamps").out == f"{lines[-1]['ts']} counting /pfs/books/bad\n"
    assert worked.fail("logs", "-p", "count", "--since", "yesterday") == "duration-invalid"


def test_lines_are_chosen_by_the_hash_of_a_file(worked: Pachctl) -> None:
    hash = worked("inspect", "file", "books@master:/hamlet", "-o", "json").document["hash"]
    assert worked("logs", "-p", "count", "--inputs", hash).out == "counting /pfs/books/hamlet\n"


@pytest.mark.parametrize("option", ["--master", "--worker"])
def test_logs_of_what_does_not_exist_here_are_refused(worked: Pachctl, option: str) -> None:
    assert worked.fail("logs", "-p", "count", option) == "option-gone"
