"""Source folders on the command line: made and kept with a pipeline, tried before there is one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl
from tests.cli.source_folder import SCRIPT, SPEC


def ran(pachctl: Pachctl) -> tuple[int, int]:
    """How many datums the newest job processed and skipped, once it has ended well."""
    pachctl("wait", "job", "count@master")
    job = pachctl.json("list", "job", "-p", "count")[0]
    return job["data_processed"], job["data_skipped"]


def run_datum(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "pachyderm_dagster", "run", "datum", *words], capture_output=True, text=True, check=False)


def test_pipeline_file_is_no_code_and_the_folder_is(books: Pachctl, folder: Path) -> None:
    file = str(folder / "count.yaml")
    books("create", "pipeline", "-f", file)
    assert ran(books) == (1, 0)
    assert books("get", "file", "count@master:/hamlet").out == "6\n"
    assert [found["path"] for found in books.json("glob", "file", "count.spec@master:/source/**")] == ["/source/run.sh"]
    (folder / "count.yaml").write_text(SPEC.replace("# counts", "# counts\ndescription: words"))
    books("update", "pipeline", "-f", file)
    assert ran(books) == (0, 1)
    (folder / "run.sh").write_text(SCRIPT.replace("-w", "-c"))
    books("update", "pipeline", "-f", file)
    assert ran(books) == (1, 0)
    assert books("get", "file", "count@master:/hamlet").out == "18\n"


def test_folder_is_named_on_the_command_line(books: Pachctl, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that is kept goes from the pipeline file, so the same file finds it again."""
    monkeypatch.chdir(tmp_path)
    text = SPEC.replace("{build: {}}", "{cmd: [sh, run.sh]}")
    Path("plain.yaml").write_text(text)
    books("create", "pipeline", "-f", "plain.yaml", "--build", "count")
    assert ran(books) == (1, 0)
    written = books("extract", "pipeline", "count").out
    assert json.loads(written)["transform"] == {"cmd": ["sh", "run.sh"], "build": {"path": "count"}}
    Path("again.json").write_text(written)
    books("update", "pipeline", "-f", "again.json")
    assert ran(books) == (0, 1)
    books("update", "pipeline", "-f", str(folder / "count.yaml"), "--build", "count")
    assert books("extract", "pipeline", "count").out.startswith('{\n  "pipeline"')
    assert books.json("inspect", "pipeline", "count")[0]["transform"]["build"]["path"] == "."


def test_folder_alone_has_the_pipeline_file_in_it(books: Pachctl, folder: Path) -> None:
    books("update", "pipeline", "--build", str(folder))
    assert ran(books) == (1, 0)
    assert books.fail("update", "pipeline", "--build", str(folder / "nowhere")) == "source-not-found"


def test_datums_of_a_clock_are_not_known_before_its_pipeline(books: Pachctl, tmp_path: Path) -> None:
    file = tmp_path / "tick.yaml"
    file.write_text("pipeline: {name: p}\ntransform: {cmd: ['true']}\ninput: {cron: {name: t, spec: '@daily'}}\n")
    failed = books.run("list", "datum", "-f", str(file))
    assert failed.status == 1 and "cron input 't' has no ticks before its pipeline is made" in failed.err


def test_source_stays_through_edit_defaults_and_rerun(books: Pachctl, folder: Path, tmp_path: Path) -> None:
    books("create", "pipeline", "-f", str(folder / "count.yaml"))
    assert ran(books) == (1, 0)
    (folder / "run.sh").write_text("exit 1\n")
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i "s/# counts/description: words/" "$1"\n')
    editor.chmod(0o755)
    books("edit", "pipeline", "count", "--editor", str(editor))
    assert ran(books) == (0, 1)
    books("create", "defaults", "--cluster", "--regenerate", stdin=b'{"create_pipeline_request": {"datum_tries": 2}}')
    assert ran(books) == (0, 1)
    books("rerun", "pipeline", "count", "--reprocess")
    assert ran(books) == (1, 0)
    found = books.json("list", "pipeline", "--history", "all")
    assert [one["version"] for one in found] == [4, 3, 2, 1]
    assert len({one["transform"]["build"]["source"] for one in found}) == 1


def test_source_is_there_after_a_restore_and_a_rebuild(
    books: Pachctl, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment_of_its_own: Path
) -> None:
    books("create", "pipeline", "-f", str(folder / "count.yaml"))
    ran(books)
    books("extract", "-o", str(tmp_path / "home.extract"))
    monkeypatch.setenv("PACHYDERM_HOME", str(tmp_path / "restored"))
    books("restore", "-f", str(tmp_path / "home.extract"), "--verify")
    for path in (tmp_path / "restored").glob("metadata.db*"):
        path.unlink()
    books("fsck", "--rebuild")
    books("collect", "garbage", "--grace", "0s")
    books.put("books@master:/short", "brief")
    assert ran(books) == (1, 1)
    assert books("get", "file", "count@master:/short").out == "1\n"
    books("delete", "pipeline", "count")
    assert books.fail("list", "file", "count.spec@master") == "repo-not-found"


def test_what_has_no_folder_is_refused(books: Pachctl, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert books.fail("create", "pipeline", "--build", "nowhere", "-f", str(folder / "count.yaml")) == "source-not-found"
    (folder / "run.sh").unlink()
    assert books.fail("create", "pipeline", "-f", str(folder / "count.yaml")) == "source-invalid"
    (folder / "run.sh").write_text(SCRIPT)
    assert books("create", "pipeline", "--dry-run", "-f", str(folder / "count.yaml")).document["transform"]["cmd"] == ["sh", "./run.sh"]
    books("start", "transaction")
    assert books.fail("create", "pipeline", "-f", str(folder / "count.yaml")) == "transaction-active"
    books("stop", "transaction")
    assert books.json("list", "pipeline") == []


def test_code_is_tried_before_there_is_a_pipeline(books: Pachctl, folder: Path, tmp_path: Path) -> None:
    file = str(folder / "count.yaml")
    done = run_datum("-f", file, "/hamlet", "-o", str(tmp_path / "made"))
    assert (done.returncode, (tmp_path / "made" / "hamlet").read_text()) == (0, "6\n"), done.stderr
    (folder / "run.sh").write_text("echo broken; exit 3\n")
    assert run_datum("-f", file, "/hamlet").returncode == 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.sh").write_text("echo from elsewhere\n")
    assert run_datum("-f", file, "/hamlet", "--build", str(other)).stderr.startswith("from elsewhere\n")
    assert books.json("list", "pipeline") == books.json("list", "job") == []
    books.misuse("run", "datum", "-f", file, "count", "/hamlet")
    books.misuse("run", "datum", "count")
    books.misuse("run", "datum", "count", "/hamlet", "--build", str(other))


def test_datums_of_a_file_are_those_of_its_folder(books: Pachctl, folder: Path) -> None:
    file = str(folder / "count.yaml")
    books("create", "pipeline", "-f", file)
    ran(books)

    def states() -> list[str]:
        return [found["state"] for found in books.json("list", "datum", "-f", file)]

    assert states() == ["SKIPPED"]
    (folder / "run.sh").write_text("exit 1\n")
    assert states() == ["UNKNOWN"]
