"""What a reader that knows only docs/reference/format.md finds in a store is what the package says."""

import ast
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from pachyderm_dagster.cli.main import main
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit, RepoType
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.docs.markdown import ROOT
from tests.format import reader

ONE_IN = 100
"""Of the small files, so many are verified by the reader alone for one that is compared too."""
HOME_OF_0001 = ROOT / "tests" / "metadata" / "homes" / "0001.tar.gz"


def test_the_reader_knows_nothing_of_the_package() -> None:
    tree = ast.parse(Path(reader.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("pachyderm_dagster") for name in names)


def check_equal(workspace: Workspace, folder: Path) -> int:
    """Compares every commit and every file; how many files there were."""
    store = reader.Store(folder)
    with workspace.database.read() as txn:
        expected = {str(commit): commit for commit in commits.list_commit(txn, include_system=True) if commit.finished is not None}
    found = {reader.name_of(record): record for record in store.commits()}
    assert found.keys() == expected.keys()
    return sum(_check_commit(workspace, store, commit, found[name]) for name, commit in expected.items())


def _check_commit(workspace: Workspace, store: reader.Store, commit: Commit, record: dict[str, object]) -> int:
    shown = (commit.branch, commit.parent, commit.origin, commit.description, commit.started, commit.finished, commit.error, commit.size_bytes, commit.tree)
    names = ("branch", "parent", "origin", "description", "started", "finished", "error", "size_bytes", "tree")
    assert tuple(record[name] for name in names) == shown, str(commit)
    if commit.repo.type is RepoType.META:
        list(store.datums(record))
        return 0
    reference = f"{commit.repo.project}/{commit.repo.name}{'.spec' if commit.repo.type is RepoType.SPEC else ''}@{commit.id}"
    files = list(store.files(record))
    assert [file.path for file in files] == [row["path"] for row in workspace.pfs.glob_file(reference, "/**").to_pylist() if row["type"] == "file"]
    for number, file in enumerate(files):
        content = store.content(file)
        if number % ONE_IN == 0 or file.size > ONE_IN:
            assert content == b"".join(workspace.pfs.get_file(f"{reference}:{file.path}"))
    return len(files)


def test_reader_finds_what_this_version_wrote(environment_of_its_own: Path) -> None:
    workspace = open_workspace(os.environ)
    workspace.pfs.create_repo("data", description="x")
    with workspace.pfs.modify_file("data@master") as files:
        for number in range(3000):
            files.put_bytes(f"/many/{number}", str(number).encode())
        files.put_bytes("/empty", b"")
        files.put_bytes("/large", os.urandom(12 << 20))
    with workspace.pfs.modify_file("data@master", description="second") as files:
        files.put_bytes("/large", b"more", append=True)
        files.delete("/many/7")
    workspace.pfs.create_branch("data@fork", head="master^")
    workspace.pfs.create_repo("gone")
    with workspace.pfs.modify_file("gone@master") as files:
        files.put_bytes("/a", b"a")
    workspace.pfs.delete_repo("gone")
    assert check_equal(workspace, environment_of_its_own / "objects") == 3002 + 3001
    workspace.close()


def test_reader_finds_what_jobs_wrote(environment_of_its_own: Path, tmp_path: Path) -> None:
    (tmp_path / "count.json").write_text(
        '{"pipeline": {"name": "count"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, '
        '"transform": {"cmd": ["sh"], "stdin": ["for book in /pfs/books/*; do wc -w < $book > /pfs/out/$(basename $book); done"]}}'
    )
    (tmp_path / "emma").write_text("Emma Woodhouse")
    for words in (
        ("create", "repo", "books"),
        ("create", "pipeline", "-f", f"{tmp_path}/count.json"),
        ("put", "file", "books@master", "-f", f"{tmp_path}/emma"),
    ):
        assert main(words) == 0
    assert main(["flush", "commit", "books@master"]) == 0
    workspace = open_workspace(os.environ)
    assert check_equal(workspace, environment_of_its_own / "objects") > 0
    structure = reader.Store(environment_of_its_own / "objects").structure()
    assert structure is not None
    assert [pipeline["name"] for pipeline in structure["sections"]["pipelines"]] == ["count"]
    workspace.close()


def test_reader_finds_what_the_release_before_wrote(environment_of_its_own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(HOME_OF_0001) as archive:
        archive.extractall(tmp_path, filter="data")
    (record,) = tmp_path.rglob("metadata.db")
    shutil.copytree(record.parent, environment_of_its_own, dirs_exist_ok=True)
    assert main(["fsck", "--fix"]) == 0
    workspace = open_workspace(os.environ)
    assert check_equal(workspace, environment_of_its_own / "objects") > 0
    workspace.close()
