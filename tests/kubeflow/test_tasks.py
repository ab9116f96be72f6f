"""The tasks of an exported pipeline one after the other: what they commit is what a job of ours commits."""

import json
from pathlib import Path

import pytest

from pachyderm_dagster.kubeflow.volume_folders import VolumeFolders
from pachyderm_dagster.pps.spec import PipelineSpec
from tests.cli.pachctl import Pachctl
from tests.kubeflow.running import Task, run_user_code
from tests.kubeflow.specs import container, exported, specs

COUNT = {
    "pipeline": {"name": "count"},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "transform": {"cmd": ["sh", "-c", 'for f in $PFS_ROOT/books/*; do mkdir -p $PFS_ROOT/out/d; wc -w <"$f" >"$PFS_ROOT/out/d/${f##*/}"; done']},
}
BOTH = {
    "pipeline": {"name": "both"},
    "input": {
        "union": [
            {"join": [{"pfs": {"name": "a", "repo": "books", "glob": "/(*)", "join_on": "$1"}}, {"pfs": {"repo": "notes", "glob": "/(*)", "join_on": "$1"}}]},
            {"pfs": {"repo": "notes", "glob": "/", "empty_files": True, "name": "whole"}},
        ]
    },
    "transform": {"cmd": ["sh"], "stdin": ["find $PFS_ROOT -type f -size +0 >$PFS_ROOT/list", 'env | grep -c ^[a-z]*_COMMIT= >"$PFS_ROOT/out/$PACH_DATUM_ID"']},
}


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    for repo in ("books", "notes"):
        pachctl("create", "repo", repo)
    for name, text in (("hamlet", "to be"), ("moby dick", "call me Ishmael"), ("it's", "a $HOME `b`")):
        pachctl.put(f"books@master:/{name}", text)
    pachctl.put("notes@master:/hamlet", "good")
    return pachctl


def stage(books: Pachctl, folder: Path, spec: PipelineSpec, *words: str) -> Task:
    task = Task(folder, artifacts=["data"], parameters=["datums", "made_from"])
    task.run(books, "stage", "--spec", spec.to_json(), "--data", str(folder / "data"), *words)
    return task


def commit_ids(books: Pachctl, *repos: str) -> list[str]:
    return [word for repo in repos for word in ("--commit", f"default/{repo}@master", str(books.json("inspect", "commit", f"{repo}@master")[0]["id"]))]


@pytest.mark.parametrize("shares", [1, 2])
@pytest.mark.parametrize(("document", "repos"), [(COUNT, ["books"]), (BOTH, ["books", "notes"])], ids=["count", "both"])
def test_a_run_commits_the_tree_that_a_job_commits(books: Pachctl, tmp_path: Path, document: dict[str, object], repos: list[str], shares: int) -> None:
    books("create", "pipeline", "-f", "-", stdin=json.dumps(document).encode())
    (spec,) = specs(document)
    name = spec.pipeline.name
    books("wait", "commit", f"{name}@master")
    staged = stage(books, tmp_path / "stage", spec, *commit_ids(books, *repos), "--shares", str(shares), "--pinned")
    outputs = []
    for share in range(shares):
        out = tmp_path / f"out-{share}"
        ended = run_user_code(spec, tmp_path / "stage/data", out, tmp_path / "pfs", share=str(share))
        assert ended.returncode == 0, ended.stderr
        outputs.append(out)
    put = Task(tmp_path / "commit", inputs={"out": outputs}, parameters=["commit", "made_from"])
    words = ["--made-from", staged.parameter("made_from"), "--datums", staged.parameter("datums"), "--shares", str(shares)]
    put.run(books, "commit", "--branch", f"default/{name}@kubeflow", *words)

    made, own = (books.json("inspect", "commit", f"{name}@{branch}")[0] for branch in ("kubeflow", "master"))
    assert made["id"] == put.parameter("commit")
    assert made["direct_provenance"] == [one for one in own["direct_provenance"] if ".spec@" not in one]
    assert books("diff", "file", f"{name}@kubeflow:/", f"{name}@master:/").out == ""
    hashes = [books.json("inspect", "file", f"{name}@{branch}:/")[0]["hash"] for branch in ("kubeflow", "master")]
    assert hashes[0] == hashes[1]
    put.run(books, "commit", "--branch", f"default/{name}@kubeflow", *words)
    assert put.parameter("commit") == made["id"]


@pytest.mark.parametrize("shares", [1, 2])
def test_on_a_volume_a_run_commits_the_same(books: Pachctl, tmp_path: Path, shares: int) -> None:
    books("create", "pipeline", "-f", "-", stdin=json.dumps(BOTH).encode())
    (spec,) = specs(BOTH)
    books("wait", "commit", "both@master")
    folders = VolumeFolders.of("both", str(tmp_path / "volume"))
    volume = ["--volume", str(tmp_path / "volume"), "--word", "both"]
    staged = Task(tmp_path / "stage", parameters=["datums", "made_from"])
    read = ["--spec", spec.to_json(), *commit_ids(books, "books", "notes"), "--shares", str(shares), "--pinned", *volume]
    for _ in range(2):
        # A second try finds what the first one left.
        staged.run(books, "stage", *read)
        for share in range(shares):
            shell = f"{folders.programs}/busybox sh"
            ended = run_user_code(spec, folders.data, folders.out, tmp_path / "pfs", share=str(share), shell=shell, on_volume=True)
            assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "stage/executor_output.json").exists()
    put = Task(tmp_path / "commit", parameters=["commit"])
    words = ["--made-from", staged.parameter("made_from"), "--datums", staged.parameter("datums"), "--shares", str(shares), *volume]
    put.run(books, "commit", "--branch", "default/both@kubeflow", *words)
    hashes = [books.json("inspect", "file", f"both@{branch}:/")[0]["hash"] for branch in ("kubeflow", "master")]
    assert hashes[0] == hashes[1]
    assert books.json("inspect", "commit", "both@kubeflow")[0]["id"] == put.parameter("commit")


def test_any_user_may_write_output_on_a_volume(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs(COUNT)
    words = ["--spec", spec.to_json(), "--commit", "default/books@master", "", "--volume", str(tmp_path), "--word", "count"]
    Task(tmp_path / "told").run(books, "stage", *words)
    folders = VolumeFolders.of("count", str(tmp_path))
    assert [folder.stat().st_mode & 0o777 for folder in (folders.out, folders.out / "files", folders.out / "ended")] == [0o777] * 3


def test_output_is_sent_where_the_pipeline_says(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs({**COUNT, "egress": {"URL": f"file://{tmp_path}/sent"}})
    staged = stage(books, tmp_path / "stage", spec, *commit_ids(books, "books"))
    assert run_user_code(spec, tmp_path / "stage/data", tmp_path / "out", tmp_path / "pfs").returncode == 0
    args = container(exported({**COUNT, "egress": {"URL": f"file://{tmp_path}/sent"}}), "exec-commit-count")["args"]
    put = Task(tmp_path / "commit", inputs={"out": [tmp_path / "out"]}, parameters=["commit"])
    words = ["--made-from", staged.parameter("made_from"), "--datums", staged.parameter("datums"), "--egress", args[args.index("--egress") + 1]]
    put.run(books, "commit", "--branch", "default/count@kubeflow", *words)
    first = put.parameter("commit")
    assert (tmp_path / "sent/d/hamlet").read_text().strip() == "2"
    (tmp_path / "sent/d/hamlet").unlink()
    put.run(books, "commit", "--branch", "default/count@kubeflow", *words)
    assert (put.parameter("commit"), (tmp_path / "sent/d/hamlet").exists()) == (first, True)


def test_an_image_of_ours_without_a_shell_for_others_is_told(books: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spec,) = specs(COUNT)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["--spec", spec.to_json(), "--commit", "default/books@master", "", "--volume", str(tmp_path), "--word", "count"]
    assert Task(tmp_path / "told").fail(books, "stage", *words) == "starter-missing"


@pytest.mark.parametrize("words", [[], ["--data", "x", "--volume", "v", "--word", "w"], ["--volume", "v"], ["--data", "x", "--word", "w"]])
def test_staging_has_one_target(books: Pachctl, words: list[str]) -> None:
    (spec,) = specs(COUNT)
    books.misuse("kubeflow", "stage", "--spec", spec.to_json(), "--executor-input", "{}", *words)


def test_what_is_staged_is_told_and_noted(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs(COUNT)
    task = stage(books, tmp_path, spec, "--commit", "default/books@master", "")
    id = books.json("inspect", "commit", "books@master")[0]["id"]
    assert (task.parameter("datums"), task.parameter("made_from")) == ("3", f"default/books@master={id}")
    assert task.metadata("data") == {"datums": 3, "commits": f"default/books@master={id}"}


def test_a_result_that_may_be_kept_needs_ids(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs(COUNT)
    for id in ("", "master"):
        words = ["--spec", spec.to_json(), "--commit", "default/books@master", id, "--pinned", "--data", str(tmp_path / "data")]
        assert Task(tmp_path, artifacts=["data"]).fail(books, "stage", *words) == "commit-missing"


def test_an_older_commit_can_be_read(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs(COUNT)
    older = books.json("inspect", "commit", "books@master^")[0]["id"]
    assert stage(books, tmp_path, spec, "--commit", "default/books@master", older).parameter("datums") == "2"


def test_nothing_is_committed_while_a_datum_is_missing(books: Pachctl, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "ended").mkdir(parents=True)
    (out / "ended/share-0").touch()
    words = ["--branch", "default/count@kubeflow", "--made-from", "", "--datums", "1"]
    assert Task(tmp_path / "commit", inputs={"out": [out]}).fail(books, "commit", *words) == "datums-missing"
    assert books.fail("inspect", "repo", "count") == "repo-not-found"


def test_two_datums_that_write_one_file_are_refused(books: Pachctl, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for datum in ("a" * 64, "b" * 64):
        (out / "files" / datum).mkdir(parents=True)
        (out / "files" / datum / "same").write_text(datum)
        (out / "ended").mkdir(exist_ok=True)
        (out / "ended" / datum).write_text("SUCCESS\n")
    (out / "ended/share-0").touch()
    words = ["--branch", "default/count@kubeflow", "--made-from", "", "--datums", "2"]
    assert Task(tmp_path / "commit", inputs={"out": [out]}).fail(books, "commit", *words) == "output-conflict"


def test_no_datums_are_an_empty_commit(books: Pachctl, tmp_path: Path) -> None:
    (spec,) = specs({**COUNT, "input": {"pfs": {"repo": "books", "glob": "/none*"}}})
    staged = stage(books, tmp_path / "stage", spec, *commit_ids(books, "books"))
    ended = run_user_code(spec, tmp_path / "stage/data", tmp_path / "out", tmp_path / "pfs")
    assert ended.returncode == 0, ended.stderr
    words = ["--branch", "default/count@kubeflow", "--made-from", staged.parameter("made_from"), "--datums", staged.parameter("datums")]
    Task(tmp_path / "commit", inputs={"out": [tmp_path / "out"]}).run(books, "commit", *words)
    assert books.json("list", "file", "count@kubeflow:/") == []


def test_a_branch_that_a_pipeline_writes_is_refused(books: Pachctl, tmp_path: Path) -> None:
    books("create", "pipeline", "-f", "-", stdin=json.dumps(COUNT).encode())
    (tmp_path / "data").mkdir()
    words = ["--repo", "count", "--data", str(tmp_path / "data")]
    assert Task(tmp_path).fail(books, "put", *words) == "output-branch"


def test_files_of_a_commit_go_into_an_artifact_and_back_with_provenance(books: Pachctl, tmp_path: Path) -> None:
    first = Task(tmp_path / "get", artifacts=["data"], parameters=["commit", "made_from", "files"])
    id = books.json("inspect", "commit", "books@master")[0]["id"]
    first.run(books, "get", "--repo", "books", "--commit", id, "--path", "/*[ta]*", "--data", str(tmp_path / "get/data"))
    assert [path.name for path in sorted((tmp_path / "get/data").iterdir())] == ["hamlet", "it's"]
    assert (first.parameter("commit"), first.parameter("files")) == (id, "2")
    assert first.metadata("data") == {"repo": "books", "branch": "master", "commit": id, "path": "/*[ta]*", "files": 2}
    second = Task(tmp_path / "next", artifacts=["data"], parameters=["made_from"])
    notes = books.json("inspect", "commit", "notes@master")[0]["id"]
    second.run(books, "get", "--repo", "notes", "--commit", notes, "--made-from", first.parameter("made_from"), "--data", str(tmp_path / "next/data"))
    put = Task(tmp_path / "put", parameters=["commit", "made_from"])
    put.run(books, "put", "--repo", "copy", "--made-from", second.parameter("made_from"), "--data", str(tmp_path / "get/data"), "--description", "why")
    made = books.json("inspect", "commit", "copy@master")[0]
    assert (made["direct_provenance"], made["description"], made["origin"]) == ([f"books@{id}", f"notes@{notes}"], "why", "USER")
    assert put.parameter("made_from") == f"default/copy@master={made['id']}"
    assert books("get", "file", "copy@master:/it's").out == "a $HOME `b`"


def test_an_artifact_that_nobody_wrote_is_no_empty_commit(books: Pachctl, tmp_path: Path) -> None:
    assert Task(tmp_path).fail(books, "put", "--repo", "copy", "--data", str(tmp_path / "none")) == "source-invalid"


def test_an_artifact_that_is_a_file_is_a_commit_of_that_file(books: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    Task(tmp_path).run(books, "put", "--repo", "copy", "--data", str(tmp_path / "model"))
    assert [entry["path"] for entry in books.json("list", "file", "copy@master:/")] == ["/model"]
    assert books("get", "file", "copy@master:/model").out == "weights"


def test_what_changed_between_commits_is_an_artifact(books: Pachctl, tmp_path: Path) -> None:
    old = books.json("inspect", "commit", "books@master")[0]["id"]
    books("delete", "file", "books@master:/hamlet")
    books.put("books@master:/new/file", "new")
    task = Task(tmp_path, artifacts=["data"], parameters=["is_different", "added", "deleted", "commit"])
    head = Task(tmp_path / "head", parameters=["commit"])
    head.run(books, "head", "--repo", "books")
    new = ["--new", head.parameter("commit")]
    task.run(books, "diff", "--repo", "books", *new, "--old", old, "--data", str(tmp_path / "data"))
    assert [task.parameter(name) for name in ("is_different", "added", "deleted")] == ["true", "1", "1"]
    assert (tmp_path / "data/files/new/file").read_text() == "new"
    assert json.loads((tmp_path / "data/changes.json").read_text()) == [
        {"op": "deleted", "path": "/hamlet", "size_bytes": 5},
        {"op": "added", "path": "/new/file", "size_bytes": 3},
    ]
    task.run(books, "diff", "--repo", "books", "--new", old, "--old", old, "--data", str(tmp_path / "none"))
    assert task.parameter("is_different") == "false"
    task.run(books, "diff", "--repo", "books", *new, "--data", str(tmp_path / "parent"))
    assert [path.name for path in (tmp_path / "parent/files").rglob("*") if path.is_file()] == ["file"]


@pytest.mark.parametrize("text", ["{", "[]", '{"outputs": 3}'])
def test_what_kubeflow_never_says_is_refused(pachctl: Pachctl, text: str) -> None:
    words = ["kubeflow", "get", "--repo", "books", "--commit", "0" * 32, "--data", "/nowhere", "--executor-input", text]
    assert pachctl.fail(*words) == "executor-input-invalid"


@pytest.mark.parametrize("text", ["books", "books@master", "books@master=12", "books=1"])
def test_provenance_is_commits_with_branches(books: Pachctl, tmp_path: Path, text: str) -> None:
    (tmp_path / "data").mkdir()
    assert Task(tmp_path).fail(books, "put", "--repo", "copy", "--made-from", text, "--data", str(tmp_path / "data")) == "provenance-invalid"
