"""`dev pipeline`: what it takes for a change, what it shows, how it ends."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.cli.dev_pipeline import last_try
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.pipeline_files import find_pipeline_file
from tests.cli.pachctl import Pachctl, process
from tests.cli.source_folder import SCRIPT, SPEC

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def dev(books: Pachctl, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command at work on the folder."""
    with process("dev", "pipeline", str(folder)) as running:
        yield running


def shown(running: "subprocess.Popen[str]", last: str = "waiting for changes") -> str:
    """What it prints until it waits again."""
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if line.startswith(last):
            return "".join(lines)
    assert running.stderr is not None
    raise AssertionError(f"it ended: {''.join(lines)}{running.stderr.read()}")


def outputs(pachctl: Pachctl) -> str:
    return pachctl("get", "file", "count@master:/hamlet").out


def test_each_change_of_code_or_file_is_run(books: Pachctl, folder: Path, dev: "subprocess.Popen[str]") -> None:
    assert "pipeline count: version 1\n1 of 1 jobs succeeded" in shown(dev)
    assert outputs(books) == "6\n"
    (folder / "run.sh").write_text(SCRIPT.replace("-w", "-c"))
    assert "version 2\n1 of 1 jobs succeeded" in shown(dev)
    assert outputs(books) == "18\n"
    (folder / "count.yaml").write_text(SPEC.replace("build: {}", 'build: {}, env: {NEW: "1"}'))
    assert "version 3\n1 of 1 jobs succeeded" in shown(dev)
    dev.send_signal(signal.SIGINT)
    assert "stopped\n" in shown(dev, "stopped")
    assert dev.wait() == 0
    assert [job["state"] for job in books.json("list", "job")] == ["SUCCESS"] * 3


def test_folder_that_is_replaced_or_away_for_a_while_is_followed(books: Pachctl, folder: Path, dev: "subprocess.Popen[str]") -> None:
    shown(dev)
    away = folder.rename(folder.with_name("away"))
    assert shown(dev, f"{folder} is gone")
    (away / "run.sh").write_text(SCRIPT.replace("-w", "-c"))
    shutil.copytree(away, folder)
    assert "version 2\n" in shown(dev)
    (folder / "run.sh").write_text(SCRIPT.replace("-w", "-l"))
    assert "version 3\n1 of 1 jobs succeeded" in shown(dev)
    assert outputs(books) == "0\n"


def test_change_while_a_job_runs_makes_the_next_version_and_ends_that_job(books: Pachctl, folder: Path) -> None:
    begun = folder.with_name("begun")
    os.mkfifo(begun)
    (folder / "run.sh").write_text(f"echo begun > {begun}; exec sleep 600\n")
    with process("dev", "pipeline", str(folder)) as running:
        assert begun.read_text() == "begun\n"
        (folder / "run.sh").write_text(SCRIPT)
        said = shown(running)
        assert said.startswith("pipeline count: version 1\npipeline count: version 2\n1 of 1 jobs succeeded")
    assert outputs(books) == "6\n"
    assert [job["state"] for job in books.json("list", "job")] == ["SUCCESS", "KILLED"]


def test_second_one_is_refused_while_another_follows_the_pipeline(books: Pachctl, folder: Path, dev: "subprocess.Popen[str]") -> None:
    shown(dev)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "run.sh").write_text("exit 1\n")
    refused = books.run("dev", "pipeline", str(other))
    assert (refused.status, refused.code) == (1, "dev-running")
    assert f"follows pipeline 'count' already: process {dev.pid} of " in refused.err
    assert books.json("inspect", "pipeline", "count")[0]["version"] == 1
    dev.send_signal(signal.SIGINT)
    assert dev.wait() == 0
    with process("dev", "pipeline", str(other)) as running:
        assert "pipeline count: version 2\n" in shown(running)


def test_what_fails_is_shown_and_what_is_wrong_told_until_it_is_mended(books: Pachctl, folder: Path, dev: "subprocess.Popen[str]") -> None:
    shown(dev)
    (folder / "run.sh").write_text("echo all is lost; exit 3\n")
    failed = shown(dev)
    assert "FAILURE: datum" in failed
    # Of three tries the last is shown.
    assert ":\n  all is lost\n0 of 1" in failed
    assert "0 of 1 jobs succeeded" in failed
    (folder / "count.yaml").write_text("pipeline: {name: count}\n")
    shown(dev)
    (folder / "count.yaml").write_text(SPEC)
    (folder / "run.sh").write_text(SCRIPT)
    assert "version 3\n1 of 1 jobs succeeded" in shown(dev)
    dev.send_signal(signal.SIGINT)
    assert dev.wait() == 0
    assert dev.stderr is not None
    assert "[spec-invalid]" in dev.stderr.read()
    newest = books.json("list", "job")[0]
    assert (newest["state"], newest["data_skipped"]) == ("SUCCESS", 1)


def test_end_of_the_last_try_is_what_is_shown() -> None:
    assert [*last_try(["a", "", "[try 2 of 3]", "b", "", "[try 3 of 3]", "c", "d"])] == ["c", "d"]
    assert [*last_try(map(str, range(50)))] == [str(number) for number in range(30, 50)]


def test_what_runs_on_is_not_waited_for(books: Pachctl, folder: Path) -> None:
    (folder / "count.yaml").write_text(SPEC.replace("/*", "/") + "service: {internal_port: 8765}\n")
    with process("dev", "pipeline", str(folder)) as running:
        assert "it runs on, and not here: `pachctl run service count`" in shown(running)
        (folder / "run.sh").write_text("exit 1\n")
        assert shown(running).startswith("pipeline count: version 2\n")


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGHUP])
def test_what_did_not_change_makes_no_version(books: Pachctl, folder: Path, ends: signal.Signals) -> None:
    books("create", "pipeline", "-f", str(folder / "count.yaml"))
    with process("dev", "pipeline", str(folder)) as running:
        assert shown(running).startswith("1 of 1 jobs succeeded")
        # Also when it is asked to end in other ways than Ctrl-C, it gives the pipeline back.
        running.send_signal(ends)
        assert running.wait() == 0
    (folder / "count.yaml").write_text(f"# a comment\n{SPEC}")
    with process("dev", "pipeline", str(folder)) as running:
        assert shown(running).startswith("waiting for changes")
    assert books.json("inspect", "pipeline", "count")[0]["version"] == 1


def test_pipeline_file_is_found(folder: Path) -> None:
    assert find_pipeline_file(str(folder)) == str(folder / "count.yaml")
    (folder / "data.json").write_text(json.dumps({"rows": [1]}))
    (folder / "broken.yaml").write_text("{")
    assert find_pipeline_file(str(folder)) == str(folder / "count.yaml")
    (folder / "other.json").write_text(json.dumps({"pipeline": {"name": "other"}}))
    with pytest.raises(PachydermError, match="pipeline-file-ambiguous"):
        find_pipeline_file(str(folder))
    (folder / "pipeline.yml").write_text(SPEC)
    assert find_pipeline_file(str(folder)) == str(folder / "pipeline.yml")
    with pytest.raises(PachydermError, match="pipeline-file-not-found"):
        find_pipeline_file(str(folder.parent))


def test_dev_alone_still_serves(pachctl: Pachctl) -> None:
    assert "Where the UI answers" in pachctl("dev", "--help").out
    assert "--file" in pachctl("dev", "pipeline", "--help").out
