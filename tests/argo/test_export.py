"""Pipelines as WorkflowTemplates: what is written, what is refused, and that a workflow commits what a job commits."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.exporting import ExportOptions, as_yaml, export_pipelines
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec_reading import parse_specs
from tests.cli.pachctl import Pachctl

Document = dict[str, Any]
GOLDEN = Path(__file__).parent / "exported"
ID = "5a1b2c3d4e5f60718293a4b5c6d7e8f9"
BOOKS = BranchName(RepoName("default", "books"), "master")
SHOUT: Document = {
    "pipeline": {"name": "shout"},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "parallelism_spec": {"constant": 2},
    "transform": {"image": "busybox", "cmd": ["sh", "-c", "mkdir -p /pfs/out/loud; tr a-z A-Z < $books > /pfs/out/loud/$(basename $books)"]},
}
BOTH: Document = {
    "pipeline": {"name": "both_of"},
    "input": {
        "join": [
            {"pfs": {"repo": "books", "glob": "/(*)", "join_on": "$1"}},
            {"pfs": {"repo": "shout", "name": "loud", "glob": "/loud/(*)", "join_on": "$1"}},
        ]
    },
    "datum_tries": 1,
    "datum_timeout": "1m",
    "transform": {
        "image": "busybox",
        "cmd": ["sh", "-e"],
        "env": {"END": "."},
        "stdin": ["cat $books $loud > /pfs/out/$PACH_DATUM_books_JOIN_ON", "echo $books_COMMIT $END | wc -w >> /pfs/out/$PACH_DATUM_books_JOIN_ON"],
    },
}
PLACED: Document = {
    "pipeline": {"name": "placed", "project": {"name": "vision"}},
    "input": {
        "cross": [{"pfs": {"repo": "images", "branch": "dev", "glob": "/"}}, {"pfs": {"project": "other", "repo": "images", "name": "more", "glob": "/"}}]
    },
    "transform": {
        "image": "private/model:3",
        "cmd": ["/model"],
        "user": "1000",
        "working_dir": "/work",
        "memory_volume": True,
        "image_pull_secrets": ["registry"],
        "secrets": [{"name": "login", "env_var": "PASSWORD", "key": "password"}, {"name": "keys", "mount_path": "/keys"}],
    },
    "resource_requests": {"cpu": 0.5, "memory": "1Gi"},
    "resource_limits": {"memory": "2Gi", "gpu": {"type": "nvidia.com/gpu", "number": 1}},
    "scheduling_spec": {"node_selector": {"disk": "ssd"}, "priority_class_name": "low"},
    "tolerations": [{"key": "gpu", "operator": "EXISTS", "effect": "NO_SCHEDULE"}],
    "metadata": {"labels": {"team": "vision"}, "annotations": {"a": "b"}},
}
EXPORTS: Mapping[str, tuple[list[Document], ExportOptions]] = {
    "one": ([SHOUT], ExportOptions(commits={BOOKS: ID}, image="pachyderm-dagster-server:1")),
    "graph": ([BOTH, SHOUT], ExportOptions(name="books", image="pachyderm-dagster-server:1", secret="", claim="home", branch="made")),
    "placed": ([PLACED], ExportOptions(image="pachyderm-dagster-server:1", secret="home")),
}


def exported(documents: list[Document], options: ExportOptions) -> str:
    specs = parse_specs("\n".join(map(json.dumps, documents)), source="test", notes=[])
    return as_yaml(export_pipelines(specs, options, project="default"))


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_are_what_they_were(name: str) -> None:
    text = exported(*EXPORTS[name])
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("WRITE_EXPORTS"):
        file.write_text(text)
    assert text == file.read_text(), "WRITE_EXPORTS=1 writes the files anew"


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_are_workflow_files_that_can_run(name: str) -> None:
    (read,) = parse_objects(exported(*EXPORTS[name]), source=f"{name}.yaml")
    check_object(read, library_of([read]))


def test_text_of_several_lines_is_read_back_as_it_was() -> None:
    document = {"a": "one\ntwo\n", "b": ["x: y", "{{tag}}", "", "yes", "1"], "c": " leading\n  and trailing "}
    assert yaml.safe_load(as_yaml(document)) == document


def changed(document: Document, **fields: Any) -> Document:
    transform = {name.removeprefix("transform__"): value for name, value in fields.items() if name.startswith("transform__")}
    others = {name: value for name, value in fields.items() if not name.startswith("transform__")}
    return {**document, "transform": {**document["transform"], **transform}, **others}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed(SHOUT, egress={"URL": "s3://bucket/a"}), "'egress'"),
        (changed(SHOUT, job_timeout="5m"), "'job_timeout'"),
        (changed(SHOUT, pod_patch="[]"), "'pod_patch'"),
        (changed(SHOUT, transform__cmd=["sh", "-c", "echo {{x}}"]), "'{{'"),
        (changed(SHOUT, transform__cmd=[]), "'transform.cmd' is empty"),
        (changed(SHOUT, transform__err_cmd=["true"]), "'transform.err_cmd'"),
        (changed(SHOUT, transform__datum_batching=True), "'transform.datum_batching'"),
        (changed(SHOUT, transform__accept_return_code=[3]), "'transform.accept_return_code'"),
        (changed(SHOUT, transform__user="ann"), "'transform.user' 'ann'"),
        (changed(SHOUT, transform__cmd=["awk", "1"], transform__stdin=["a"]), "'transform.stdin'"),
        (changed(SHOUT, transform__cmd=["sh", "-c", "cat"], transform__stdin=["a"]), "'transform.stdin'"),
        (changed(SHOUT, input={"cron": {"name": "tick", "spec": "@daily"}}), "the input 'tick' is a clock"),
        (changed(SHOUT, input={"pfs": {"repo": "books", "glob": "/", "empty_files": True}}), "'empty_files' of the input 'books'"),
        ({"pipeline": {"name": "s"}, "spout": {}, "transform": {"cmd": ["x"]}}, "it is a spout"),
    ],
)
def test_what_cannot_be_expressed_is_told_by_name(document: Document, said: str) -> None:
    with pytest.raises(InvalidError, match="export-unsupported") as caught:
        exported([document, changed(SHOUT, pipeline={"name": "fine"})], ExportOptions())
    assert said in str(caught.value) and "default/fine" not in str(caught.value)


# --- running


def files_of(pachctl: Pachctl, branch: str) -> dict[str, tuple[int, str]]:
    """By path the size and hash of each file of a branch."""
    return {one["path"]: (one["size_bytes"], one["hash"]) for one in pachctl.json("glob", "file", f"{branch}:/**") if one["type"] == "file"}


@pytest.fixture
def books(pachctl: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pachctl:
    """A home with two books, one of which only one pipeline reads, and pipelines over them; it is the volume that workflows find."""
    home = tmp_path / "books-home"
    monkeypatch.setenv("PACHYDERM_HOME", str(home))
    pachctl("create", "repo", "books")
    for name, text in (("hamlet", "to be\n"), ("moby", "call me Ishmael\n")):
        pachctl.put(f"books@master:/{name}", text)
    (tmp_path / "pipelines.json").write_text("\n".join(map(json.dumps, (SHOUT, BOTH))))
    pachctl("create", "pipeline", "-f", str(tmp_path / "pipelines.json"))
    claims = home / "argo" / "claims"
    claims.mkdir(parents=True)
    (claims / "home").symlink_to(home)
    return pachctl


def test_a_workflow_commits_what_jobs_commit(books: Pachctl, tmp_path: Path) -> None:
    books("wait", "commit", "both_of@master")
    template = tmp_path / "template.yaml"
    books("argo", "export", "both_of", "shout", "--home-claim", "home", "--name", "books", "-o", str(template))
    assert [one["kind"] for one in books.json("argo", "lint", str(template))] == ["WorkflowTemplate"]
    answer = books("argo", "submit", str(template), "--name", "first")
    assert "Succeeded" in answer.out
    for pipeline in ("shout", "both_of"):
        assert files_of(books, f"{pipeline}@argo") == files_of(books, f"{pipeline}@master") != {}
    # A later commit is read by who asks for it, or for the head.
    books.put("books@master:/more", "more\n")
    answer = books.run("argo", "submit", str(template), "--name", "second", "-p", "books_commit=")
    assert answer.status == 0, answer.out + books("argo", "logs", "second").out
    books("wait", "commit", "both_of@master")
    assert files_of(books, "both_of@argo") == files_of(books, "both_of@master")
    assert "/more" in files_of(books, "both_of@argo")


def test_a_datum_that_fails_leaves_no_commit(books: Pachctl, tmp_path: Path) -> None:
    spec = changed(SHOUT, pipeline={"name": "picky"}, datum_tries=1, transform__cmd=["sh", "-c", "grep -q be $books && cp $books /pfs/out"])
    (tmp_path / "picky.json").write_text(json.dumps(spec))
    template = tmp_path / "template.yaml"
    books("argo", "export", "-f", str(tmp_path / "picky.json"), "--home-claim", "home", "-o", str(template))
    assert books.run("argo", "submit", str(template), "--name", "picky").status == 1
    assert books.fail("inspect", "commit", "picky@argo") == "repo-not-found"


def test_two_datums_that_write_one_file_leave_no_commit(books: Pachctl, tmp_path: Path) -> None:
    spec = changed(SHOUT, pipeline={"name": "same"}, transform__cmd=["sh", "-c", "echo $books > /pfs/out/same"])
    (tmp_path / "same.json").write_text(json.dumps(spec))
    template = tmp_path / "template.yaml"
    books("argo", "export", "-f", str(tmp_path / "same.json"), "--home-claim", "home", "-o", str(template))
    assert books.run("argo", "submit", str(template), "--name", "same").status == 1
    assert "output-conflict" in books("argo", "logs", "same").out


def test_no_datums_are_an_empty_commit(books: Pachctl, tmp_path: Path) -> None:
    spec = changed(SHOUT, pipeline={"name": "none"}, input={"pfs": {"repo": "books", "glob": "/*.png"}})
    (tmp_path / "none.json").write_text(json.dumps(spec))
    template = tmp_path / "template.yaml"
    books("argo", "export", "-f", str(tmp_path / "none.json"), "--home-claim", "home", "-o", str(template))
    books("argo", "submit", str(template), "--name", "none")
    assert books.json("inspect", "commit", "none@argo")[0]["size_bytes"] == 0
