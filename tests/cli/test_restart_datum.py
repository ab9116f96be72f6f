"""`restart datum`, on a job that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.job_thread import JobThread
from tests.cli.pachctl import Pachctl


def stuck_job(pachctl: Pachctl, home: Path, folder: Path) -> JobThread:
    """A job with datums that are well and one, `stuck`, of which the first try never ends; the second one does."""
    script = f"case $data in */stuck) if mkdir {folder}/once; then {{here}}; sleep 600; fi;; esac; cp $data $PFS_ROOT/out/"
    return JobThread(pachctl, home, folder, script, ("/well", "/stuck"), datum_tries=1)


@pytest.fixture
def stuck(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> Iterator[JobThread]:
    job = stuck_job(pachctl, environment_of_its_own, tmp_path)
    job.start()
    yield job
    pachctl.run("stop", "job", f"work@{job.id}")
    job.join()


def test_datum_that_is_stuck_runs_again_in_the_same_job(stuck: JobThread, pachctl: Pachctl) -> None:
    (asked,) = pachctl("restart", "datum", f"work@{stuck.id}", "/stuck", "-o", "json").documents
    assert (asked["files"][0].rpartition(":")[2], asked["state"]) == ("/stuck", "STARTING")
    stuck.join()
    job = pachctl("inspect", "job", f"work@{stuck.id}", "-o", "json").document
    assert (job["state"], job["restarts"], job["data_processed"], job["data_skipped"]) == ("SUCCESS", 1, 1, 1)
    assert pachctl("get", "file", "work@master:/stuck").out == "s"
    assert pachctl.fail("restart", "datum", f"work@{stuck.id}", "/stuck") == "job-finished"


def test_what_does_not_run_is_refused_and_what_runs_is_named(stuck: JobThread, pachctl: Pachctl) -> None:
    answer = pachctl.run("restart", "datum", f"work@{stuck.id}", "/stuck,/well")
    assert answer.code == "datum-not-running"
    assert "1 run: " in answer.err
    assert ":/stuck)" in answer.err
    assert pachctl.fail("restart-datum", f"work@{stuck.id}", "/nothing") == "datum-not-running"
    assert pachctl.fail("restart", "datum", "work@0123456789abcdef0123456789abcdef", "/stuck") == "job-not-found"


def test_job_that_has_not_begun_runs_nothing(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    job = stuck_job(pachctl, environment_of_its_own, tmp_path)
    answer = pachctl.run("restart", "datum", f"work@{job.id}", "/stuck")
    assert answer.code == "datum-not-running"
    assert "none of its datums runs now" in answer.err
