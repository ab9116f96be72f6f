"""`export kubeflow`: which pipelines, which commits, where it goes."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.pachctl import Document, Pachctl

SPEC = json.dumps({"pipeline": {"name": "count"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["wc"]}, "salt": "x"})
LATER = json.dumps({"pipeline": {"name": "later"}, "input": {"pfs": {"repo": "count", "glob": "/"}}, "transform": {"cmd": ["wc"]}})


def parameters(text: str) -> dict[str, str]:
    """The parameters of a pipeline file with their defaults."""
    root: Document = next(iter(yaml.safe_load_all(text)))["root"]
    return {name: one["defaultValue"] for name, one in root.get("inputDefinitions", {}).get("parameters", {}).items()}


def export(books: Pachctl, *words: str) -> dict[str, str]:
    return parameters(books("export", "kubeflow", "-f", "-", *words, stdin=SPEC.encode()).out)


def test_commits_are_what_is_there(books: Pachctl) -> None:
    head = books.put("books@master:/new", "x")
    assert export(books) == {"books_commit": head}


def test_another_commit_can_be_named(books: Pachctl) -> None:
    older = books.json("inspect", "commit", "books@master")[0]["id"]
    books.put("books@master:/new", "x")
    assert export(books, "--commit", f"books@{older}") == {"books_commit": older}
    assert export(books, "--commit", "books@master=master^") == {"books_commit": older}


def test_head_names_none_and_needs_no_data(pachctl: Pachctl) -> None:
    assert export(pachctl, "--head") == {"books_commit": ""}


def test_pipelines_of_the_home_are_named(books: Pachctl, tmp_path: Path) -> None:
    books("create", "pipeline", "-f", "-", stdin=(SPEC + LATER).encode())
    answer = books("export", "kubeflow", "count", "later", "-o", str(tmp_path / "p.yaml"), "--name", "both", "--branch", "runs", "--image", "ours:1")
    assert answer.out == ""
    assert answer.err.startswith("note: salt of 'count' has no effect")
    text = (tmp_path / "p.yaml").read_text()
    assert list(parameters(text)) == ["books_commit"]
    pipeline = next(iter(yaml.safe_load_all(text)))
    assert pipeline["pipelineInfo"]["name"] == "both"
    commit = pipeline["deploymentSpec"]["executors"]["exec-commit-later"]["container"]
    assert (commit["image"], commit["args"][:2]) == ("ours:1", ["--branch", "default/later@runs"])


def test_other_projects_are_read_and_written_in_full(pachctl: Pachctl) -> None:
    pachctl("create", "project", "lab")
    answer = pachctl("export", "kubeflow", "-f", "-", "--head", "--project", "lab", stdin=SPEC.encode())
    assert "lab/books@master" in answer.out and "lab/count@kubeflow" in answer.out
    assert list(parameters(answer.out)) == ["books_commit"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-f", "-"], "commit-not-found"),
        (["-f", "-", "--commit", "other@master"], "pin-invalid"),
        (["-f", "-", "--commit", "books@none"], "branch-not-found"),
        (["none"], "pipeline-not-found"),
        (["-f", "-", "--head", "--name", "run-count"], "export-invalid"),
    ],
)
def test_what_is_not_there_is_told(pachctl: Pachctl, words: list[str], code: str) -> None:
    pachctl("create", "repo", "books")
    assert pachctl.fail("export", "kubeflow", *words, stdin=SPEC.encode()) == code


def test_a_commit_with_an_error_is_not_read(books: Pachctl) -> None:
    books("start", "commit", "books@master")
    books("finish", "commit", "books@master", "--error", "bad")
    assert books.fail("export", "kubeflow", "-f", "-", "--commit", "books@master", stdin=SPEC.encode()) == "pin-invalid"
    assert export(books)["books_commit"] == books.json("inspect", "commit", "books@master^")[0]["id"]


@pytest.mark.parametrize("words", [[], ["count", "-f", "x.yaml"], ["count", "--head", "--commit", "books@master"]])
def test_wrong_usage(pachctl: Pachctl, words: list[str]) -> None:
    pachctl.misuse("export", "kubeflow", *words)


def test_files_may_be_on_a_volume(pachctl: Pachctl) -> None:
    words = ["--head", "--transport", "volume", "--volume-size", "1Ti", "--storage-class", "fast", "--access-mode", "ReadWriteMany"]
    pipeline = next(iter(yaml.safe_load_all(pachctl("export", "kubeflow", "-f", "-", *words, stdin=SPEC.encode()).out)))
    given = pipeline["root"]["dag"]["tasks"]["make-volume"]["inputs"]["parameters"]
    assert [given[name]["runtimeValue"]["constant"] for name in ("size", "storage_class_name", "access_modes")] == ["1Ti", "fast", ["ReadWriteMany"]]


@pytest.mark.parametrize("option", ["--volume-size", "--storage-class"])
def test_what_is_told_of_a_volume_is_of_one(pachctl: Pachctl, option: str) -> None:
    pachctl.misuse("export", "kubeflow", "-f", "-", "--head", option, "x")
