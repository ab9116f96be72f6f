"""`make demo`: the first call runs everything, the second one nothing, and both say what is true."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.definitions.pachctl import documents, pachctl
from tests.docs.markdown import ROOT

DATA = ROOT / "definitions" / "digits" / "data"


def play(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PACHYDERM_HOME": "/somebody/elses/home", "DAGSTER_HOME": "/somebody/elses/dagster"}
    return subprocess.run([sys.executable, ROOT / "definitions" / "demo.py", home], env=environment, capture_output=True, text=True, check=False)


def counts(jobs: list[dict[str, Any]], pipeline: str) -> list[tuple[int, int, int]]:
    """Datums in all, processed and skipped of the pipeline's jobs, newest first."""
    assert all(job["state"] == "SUCCESS" for job in jobs)
    return [(job["data_total"], job["data_processed"], job["data_skipped"]) for job in jobs if job["pipeline"] == pipeline]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_runs_what_is_new_and_nothing_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo-started").touch()
    (home / "metadata.db").write_text("what an interrupted demo left")
    first = play(home)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "did not come to its end" in first.stdout
    jobs = documents(home, "list", "job")
    assert counts(jobs, "model") == [(1, 1, 0)]
    assert counts(jobs, "score") == [(4, 1, 3), (3, 3, 0)]
    assert all(job["run_id"] for job in jobs), "every job was run by Dagster"
    files = [file["path"] for file in documents(home, "list", "file", "score@master")]
    assert files == sorted(f"/batch-{number}.{kind}" for number in range(1, 5) for kind in ("json", "png"))
    assert pachctl(home, "get", "file", "test@master:/batch-4.csv") == (DATA / "test" / "batch-4.csv").read_text()
    assert "nothing ran again" not in first.stdout
    assert f"PACHYDERM_HOME={home}" in first.stdout

    model = pachctl(home, "inspect", "file", "model@master:/model.pickle", "-o", "json")
    second = play(home)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "nothing ran again" in second.stdout
    assert counts(documents(home, "list", "job"), "score")[:2] == [(4, 0, 4), (4, 0, 4)]
    assert counts(documents(home, "list", "job"), "model") == [(1, 0, 1), (1, 1, 0)]
    assert pachctl(home, "inspect", "file", "model@master:/model.pickle", "-o", "json") == model


def test_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    played = play(tmp_path)
    assert played.returncode == 1
    assert "holds something that is no demo's" in played.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_second_demo_at_the_same_time_is_refused(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    played = play(tmp_path)
    os.close(folder)
    assert played.returncode == 1
    assert "another demo is running" in played.stderr
    assert list(tmp_path.iterdir()) == []


def test_demo_says_when_an_earlier_one_cannot_be_gone_on_with(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo-finished").touch()
    played = play(home)
    assert played.returncode == 1
    assert "error: repo 'training' does not exist" in played.stderr
    assert f"to begin from nothing: rm -r {home}" in played.stderr
