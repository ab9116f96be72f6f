"""Editing, extracting, drawing and looking back at pipelines."""

import datetime as dt
import json
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.metadata import tables as t
from tests.cli.pachctl import Pachctl
from tests.records import change_record

TEXT = """# what it is for
pipeline: {name: copy}
input: {pfs: {repo: books, glob: "/*"}}
transform: {cmd: [sh], stdin: ["cp /pfs/books/* /pfs/out"]}
"""


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """A pipeline that was written by hand."""
    pachctl("create", "repo", "books")
    pachctl("create", "pipeline", stdin=TEXT.encode())
    return pachctl


def replacing(folder: Path, old: str, new: str) -> str:
    """An editor that does this to the file that it is given, and keeps what it found."""
    script = folder / "editor.sh"
    script.write_text(f'#!/bin/sh\ncp "$1" {folder}/seen\nsed -i "s|{old}|{new}|" "$1"\n')
    script.chmod(0o755)
    return str(script)


def version(pachctl: Pachctl, name: str = "copy") -> int:
    return int(pachctl("inspect", "pipeline", name, "-o", "json").document["version"])


def kept(err: str) -> Path:
    """Where the text is that could not be used."""
    (line,) = [line for line in err.splitlines() if line.startswith("note: your text is kept")]
    return Path(line.rpartition("-f ")[2].rstrip("`"))


def test_own_text_is_edited_and_becomes_the_next_version(books: Pachctl, tmp_path: Path) -> None:
    books("edit", "pipeline", "copy", "--editor", replacing(tmp_path, "is for", "is good for"))
    assert (tmp_path / "seen").read_text() == TEXT
    assert books("extract", "pipeline", "copy").out == TEXT.replace("is for", "is good for")
    assert version(books) == 2


def test_editor_of_the_environment_is_used(books: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{replacing(tmp_path, 'is for', 'is good for')} ")
    books("edit", "pipeline", "copy", "--reprocess")
    assert version(books) == 2


def test_what_was_given_without_a_text_is_edited_as_json(books: Pachctl, tmp_path: Path) -> None:
    two = json.dumps([{"pipeline": {"name": name}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}} for name in "ab"])
    books("create", "pipeline", stdin=two.encode())
    books("edit", "pipeline", "a", "--editor", replacing(tmp_path, "true", "false"))
    assert json.loads((tmp_path / "seen").read_text())["pipeline"] == {"name": "a"}
    assert books("inspect", "pipeline", "a", "-o", "json").document["transform"]["cmd"] == ["false"]


def test_text_that_stays_is_refused(books: Pachctl) -> None:
    assert books.fail("edit", "pipeline", "copy", "--editor", "true") == "edit-unchanged"
    assert version(books) == 1


@pytest.mark.parametrize("editor", ["false", "/nowhere/editor", "'"])
def test_editor_that_fails_changes_nothing(books: Pachctl, editor: str) -> None:
    assert books.fail("edit", "pipeline", "copy", "--editor", editor) == "editor-failed"
    assert version(books) == 1


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("pfs:", "pfs", "spec-invalid", "line 3"),
        ("glob:", "globe:", "spec-invalid", "input.pfs.globe: unknown field"),
        ("name: copy", "name: other", "spec-invalid", "keeps its name"),
        ("repo: books", "repo: nothing", "repo-not-found", "'nothing'"),
    ],
)
def test_mistake_is_told_with_its_place_and_the_text_is_kept(books: Pachctl, tmp_path: Path, old: str, new: str, code: str, says: str) -> None:
    answer = books.run("edit", "pipeline", "copy", "--editor", replacing(tmp_path, old, new))
    assert (answer.status, answer.code) == (1, code)
    assert says in answer.err
    path = kept(answer.err)
    assert path.read_text() == TEXT.replace(old, new)
    assert version(books) == 1
    path.write_text(TEXT.replace("is for", "is good for"))
    books("update", "pipeline", "-f", str(path))
    path.unlink()
    assert version(books) == 2


def test_update_by_somebody_else_is_not_overwritten(books: Pachctl, tmp_path: Path) -> None:
    script = tmp_path / "editor.sh"
    (tmp_path / "other.yaml").write_text(TEXT + "datum_tries: 9\n")
    script.write_text(f'#!/bin/sh\nsed -i s/is.for/is4/ "$1"\n{sys.executable} -m pachyderm_dagster update pipeline -f {tmp_path}/other.yaml\n')
    script.chmod(0o755)
    answer = books.run("edit", "pipeline", "copy", "--editor", str(script))
    assert answer.code == "pipeline-changed", answer.err
    kept(answer.err).unlink()
    assert books("inspect", "pipeline", "copy", "-o", "json").document["spec"]["datum_tries"] == 9


def test_edit_joins_a_transaction(books: Pachctl, tmp_path: Path) -> None:
    books("start", "transaction")
    books("edit", "pipeline", "copy", "--editor", replacing(tmp_path, "is for", "is good for"))
    assert version(books) == 1
    books("finish", "transaction")
    assert version(books) == 2


def test_extract_prints_json_for_programs(books: Pachctl) -> None:
    assert books("extract", "pipeline", "copy", "-o", "json").document == books("extract-pipeline", "copy", "-o", "json").document
    assert books("extract", "pipeline", "copy", "-o", "json").document["input"] == {"pfs": {"repo": "books", "glob": "/*"}}
    assert books.fail("extract", "pipeline", "nothing") == "pipeline-not-found"


def test_history_lists_versions(books: Pachctl) -> None:
    for tries in (4, 5):
        books("update", "pipeline", stdin=f"{TEXT}datum_tries: {tries}\n".encode())
    listed = {count: [found["version"] for found in books.json("list", "pipeline", "--history", count)] for count in ("none", "1", "all", "-1")}
    assert listed == {"none": [3], "1": [3, 2], "all": [3, 2, 1], "-1": [3, 2, 1]}
    assert "neither a number" in books.misuse("list", "pipeline", "--history", "some")


def test_commit_shows_the_pipelines_as_they_were_in_a_set(books: Pachctl) -> None:
    first = books.put("books@master:/a", "one")
    books("update", "pipeline", stdin=f"{TEXT}datum_tries: 4\n".encode())
    later = TEXT.replace("name: copy", "name: later").encode()
    books("create", "pipeline", stdin=later)
    second = books.put("books@master:/b", "two")
    shown = {one: [(found["name"], found["version"]) for found in books.json("list", "pipeline", "--commit", one)] for one in (first, second)}
    assert shown == {first: [("copy", 1)], second: [("copy", 2), ("later", 1)]}
    assert books.fail("list", "pipeline", "--commit", "0" * 32) == "commit-set-not-found"
    assert books("draw", "pipeline", "-c", first).out.splitlines() == ["* books", "* copy (RUNNING / KILLED)"]


def test_graph_of_pipelines_is_drawn(books: Pachctl) -> None:
    cross = {"cross": [{"pfs": {"repo": "books", "glob": "/"}}, {"pfs": {"repo": "copy", "glob": "/"}}, {"cron": {"name": "tick", "spec": "@never"}}]}
    books("create", "pipeline", stdin=json.dumps({"pipeline": {"name": "both"}, "input": cross, "transform": {"cmd": ["true"]}}).encode())
    assert books("draw", "pipeline", "--box-width", "9").out.splitlines() == [
        "* books",
        "| * both_tick",
        "+-|-* copy (RUNNING / CREATED)",
        "*-+-+ both (RUNNING / CREATED)",
    ]
    documents = books.json("draw", "pipeline")
    assert documents[-1] == {"name": "both", "kind": "pipeline", "reads": ["books", "copy", "both_tick"]}
    assert documents[0] == {"name": "books", "kind": "repo", "reads": []}


def test_status_tells_of_jobs_that_run_for_longer_than_expected(books: Pachctl) -> None:
    books("update", "pipeline", stdin=f"{TEXT}maximum_expected_uptime: 1h\n".encode())
    assert books.json("check", "status") == []
    assert books.json("list", "pipeline")[0]["alerts"] == []
    started = SystemClock().now() - dt.timedelta(hours=2)
    change_record(sa.update(t.job).where(t.job.c.state == "CREATED").values(state="RUNNING", started=started))
    (alert,) = books.json("check", "status")
    assert (alert["pipeline"], alert["expected_seconds"], alert["up_seconds"] > 7199) == ("copy", 3600.0, True)
    assert "2 hours, and 1 hour was expected" in books("check", "status").out
    assert {one["name"]: one["alerts"] for one in books.json("list", "pipeline")} == {"copy": ["uptime"]}
    assert "ALERTS" in books("list", "pipeline").out
    books("create", "project", "other")
    assert books.json("check", "status", "--project", "other") == []
    assert [one["pipeline"] for one in books.json("check", "status", "--project", "other", "-A")] == ["copy"]
