"""Commits written where others find them, and the export that imports them."""

from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.pfs import uploading
from pachyderm_dagster.pps.spec import PipelineSpec
from tests.cli.pachctl import Pachctl
from tests.kubeflow.running import Task, run_user_code
from tests.kubeflow.specs import EDGES, ID, IMAGES, MONTAGE, changed, container, exported, specs, tasks
from tests.kubeflow.test_script import SHELLS

IMPORTED = Options(commits={IMAGES: ID}, transport=Transport.IMPORTER, artifact_root="s3://bucket/x/")
URI = f"s3://bucket/x/default/images/{ID}"


def test_a_commit_is_imported_once_for_all_pipelines_that_read_it() -> None:
    found = exported(EDGES, MONTAGE, options=IMPORTED)
    parameters = found.pipeline["root"]["inputDefinitions"]["parameters"]
    assert {name: one["defaultValue"] for name, one in parameters.items()} == {"images_commit": ID, "images_uri": URI}
    assert [name for name in tasks(found) if name.startswith("import")] == ["import-images"]
    importer = found.pipeline["deploymentSpec"]["executors"]["exec-import-images"]["importer"]
    assert importer["metadata"] == {"repo": "images", "branch": "master", "commit": "{{$.inputs.parameters['commit']}}"}
    for word in ("edges", "montage"):
        given = tasks(found)[f"run-{word}"]["inputs"]["artifacts"]["images_files"]
        assert given == {"taskOutputArtifact": {"outputArtifactKey": "artifact", "producerTask": "import-images"}}
        assert "import-images" in tasks(found)[f"run-{word}"]["dependentTasks"]


def test_the_task_that_finds_datums_is_told_what_is_imported() -> None:
    found = exported(EDGES, options=IMPORTED)
    args = container(found, "exec-stage-edges")["args"]
    assert args[args.index("--imported") :][:3] == ["--imported", "default/images@master", "{{$.inputs.parameters['images_uri']}}"]
    assert container(found, "exec-run-edges")["args"][4:6] == ["0", "{{$.inputs.artifacts['images_files'].path}}"]


def test_what_is_imported_goes_into_each_share() -> None:
    found = exported(changed(EDGES, parallelism_spec={"constant": 2}), options=IMPORTED)
    inner = found.pipeline["components"]["comp-run-edges-shares"]
    assert inner["dag"]["tasks"]["run-edges"]["inputs"]["artifacts"]["images_files"] == {"componentInputArtifact": "images_files"}
    assert set(inner["inputDefinitions"]["artifacts"]) == {"data", "images_files"}


def test_what_is_imported_was_written_before() -> None:
    with pytest.raises(InvalidError, match="without --head") as raised:
        exported(EDGES, options=Options(transport=Transport.IMPORTER, artifact_root="s3://bucket"))
    assert raised.value.code == "export-invalid"


@pytest.mark.parametrize("root", ["", "bucket/x", "http://host/x", "s3://user:word@bucket/x", "az://c/x", "file://host/x", "s3://bucket/x?region=y"])
def test_kubeflow_imports_from_buckets(root: str) -> None:
    with pytest.raises(InvalidError, match="s3://bucket/prefix") as raised:
        exported(EDGES, options=Options(commits={IMAGES: ID}, transport=Transport.IMPORTER, artifact_root=root))
    assert raised.value.code == "artifact-root-invalid"


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/hamlet", "to be")
    return pachctl


def publish(pachctl: Pachctl, folder: Path, commit: str) -> Path:
    """Where the files of a commit are."""
    return Path(pachctl("export", "files", commit, "--artifact-root", f"file://{folder}").out.strip().removeprefix("file://"))


def test_files_of_a_commit_are_written_once(books: Pachctl, tmp_path: Path) -> None:
    id = books.put("books@master:/d/moby dick #1%", "call me")
    found = publish(books, tmp_path, "books@master")
    assert found == tmp_path / "default/books" / id
    assert (found / "d/moby dick #1%").read_text() == "call me"
    (found / "d/moby dick #1%").write_text("kept")
    assert publish(books, tmp_path, f"books@{id}") == found
    assert (found / "d/moby dick #1%").read_text() == "kept"


def test_what_was_not_written_to_its_end_is_written_again(books: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books.put("books@master:/a", "1")
    books.put("books@master:/b", "2")
    put, tries = uploading._put, iter([True])

    def fail_once(*args: object) -> int:
        if next(tries, False):
            raise KeyboardInterrupt
        return put(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(uploading, "_put", fail_once)
    assert books.run("export", "files", "books@master", "--artifact-root", f"file://{tmp_path}").status != 0
    assert not (tmp_path / "complete").exists()
    found = publish(books, tmp_path, "books@master")
    assert {"a", "b"} <= {path.name for path in found.iterdir()}


def test_a_commit_with_an_error_is_not_written(books: Pachctl, tmp_path: Path) -> None:
    books("start", "commit", "books@master")
    books("finish", "commit", "books@master", "--error", "bad")
    assert books.fail("export", "files", "books@master", "--artifact-root", f"file://{tmp_path}") == "pin-invalid"
    assert books.fail("export", "files", "books@master^", "--artifact-root", "nowhere") == "artifact-root-invalid"


def test_where_files_cannot_be_written_is_said_with_all_that_can_be(books: Pachctl, tmp_path: Path) -> None:
    for root in ("bucket", "./x", "file://rel"):
        assert "write s3://bucket/prefix, gs://bucket/prefix or file:///folder" in books.run("export", "files", "books@master", "--artifact-root", root).err
    (tmp_path / "file").touch()
    assert f"file://{tmp_path}/file is a file; name a folder" in books.run("export", "files", "books@master", "--artifact-root", f"file://{tmp_path}/file").err


def spec_of(document: dict[str, object]) -> PipelineSpec:
    (spec,) = specs(document)
    return spec


@pytest.mark.parametrize("shell", SHELLS)
def test_user_code_sees_imported_files_as_any_other(pachctl: Pachctl, tmp_path: Path, shell: str) -> None:
    for repo in ("a", "b", "c"):
        pachctl("create", "repo", repo)
        pachctl.put(f"{repo}@master:/it's $x/f", repo)
    read = {
        "cross": [
            {"pfs": {"repo": "a", "glob": "/*"}},
            {"pfs": {"repo": "a", "glob": "/", "name": "none", "empty_files": True}},
            {"union": [{"pfs": {"repo": repo, "glob": "/", "name": "one"}} for repo in ("b", "c")]},
        ]
    }
    text = 'cd $PFS_ROOT && for f in */*/f; do printf \'%s=%s \' "$f" "$(cat "$f")"; done; echo'
    spec = spec_of({"pipeline": {"name": "p"}, "input": read, "transform": {"cmd": ["sh", "-c", text]}})
    ids = {repo: pachctl.json("inspect", "commit", f"{repo}@master")[0]["id"] for repo in ("a", "b", "c")}
    words = [word for repo, id in ids.items() for word in ("--commit", f"default/{repo}@master", id)]
    uris = [publish(pachctl, tmp_path / "there", f"{repo}@master") for repo in ids]
    words += [word for repo, uri in zip(ids, uris, strict=True) for word in ("--imported", f"default/{repo}@master", str(uri))]
    Task(tmp_path / "stage").run(pachctl, "stage", "--spec", spec.to_json(), *words, "--pinned", "--data", str(tmp_path / "data"))
    # Of `a` there is nothing; `one` is of two repos, so that nobody could say whose file it is.
    assert sorted(path.read_text() for path in (tmp_path / "data/files").iterdir()) == ["", "b", "c"]
    ended = run_user_code(spec, tmp_path / "data", tmp_path / "out", tmp_path / "pfs", shell=shell, imports=uris)
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == [f"a/it's $x/f=a none/it's $x/f= one/it's $x/f={one} " for one in ("b", "c")]


def test_an_address_of_another_commit_is_refused(books: Pachctl, tmp_path: Path) -> None:
    spec = spec_of({"pipeline": {"name": "p"}, "input": {"pfs": {"repo": "books", "glob": "/"}}, "transform": {"cmd": ["true"]}})
    words = ["--spec", spec.to_json(), "--commit", "default/books@master", "", "--data", str(tmp_path / "data")]
    for uri in (f"s3://bucket/default/books/{ID}", "s3://bucket"):
        assert Task(tmp_path).fail(books, "stage", *words, "--imported", "default/books@master", uri) == "artifact-uri-invalid"


@pytest.mark.parametrize("words", [["--transport", "importer"], ["--artifact-root", "s3://bucket"]])
def test_an_importer_has_a_root(books: Pachctl, words: list[str]) -> None:
    books.misuse("export", "kubeflow", "-f", "-", *words)
