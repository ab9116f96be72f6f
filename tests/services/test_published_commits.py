"""Files of commits in a real bucket, from which Kubeflow imports them."""

import hashlib
import os
import secrets
import signal
from pathlib import Path

import obstore
import pytest

from pachyderm_dagster.storage.buckets import connect_bucket
from tests.cli.pachctl import Pachctl, process
from tests.storage.conftest import S3_SETTINGS, S3_URL

pytestmark = pytest.mark.skipif(S3_URL is None, reason="needs S3")
MIB = 1024 * 1024
LARGE = 40 * MIB
NAMES = ["a", "deep/er/b c#%25&=.txt", "täglich/ü", "it's", "a.b/c"]


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in the bucket of the test's own."""
    for name, value in S3_SETTINGS.items():
        monkeypatch.setenv(name, value)
    return f"{S3_URL}/{secrets.token_hex(8)}"


def keys(root: str) -> dict[str, tuple[int, str]]:
    """Size and moment of what is below a root, by path."""
    bucket = connect_bucket(root)
    return {one["path"]: (one["size"], str(one["last_modified"])) for batch in obstore.list(bucket) for one in batch}


def digest(root: str, path: str) -> str:
    """Of an object's content."""
    found = hashlib.sha256()
    for piece in obstore.get(connect_bucket(root), path).stream():
        found.update(piece)
    return found.hexdigest()


def fill(pachctl: Pachctl, folder: Path) -> dict[str, str]:
    """A repo with files of all sizes; by name the digest of each."""
    for number, name in enumerate(NAMES):
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{number} {name}".encode())
    (folder / "files/empty").touch()
    (folder / "files/large").write_bytes(secrets.token_bytes(LARGE))
    pachctl("create", "repo", "data")
    pachctl("put", "file", "-r", "data@master", "-f", str(folder / "files"))
    found = [path for path in (folder / "files").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / "files")): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_commit_lies_in_a_bucket_file_by_file_and_is_written_once(root: str, pachctl: Pachctl, tmp_path: Path) -> None:
    wanted = fill(pachctl, tmp_path)
    id = pachctl.json("inspect", "commit", "data@master")[0]["id"]
    uri = pachctl("export", "files", "data@master", "--artifact-root", root).out.strip()
    assert uri == f"{root}/default/data/{id}"
    before = keys(root)
    below = {path.removeprefix(f"default/data/{id}/"): digest(root, path) for path in before if path.startswith(f"default/data/{id}/")}
    assert below == wanted
    assert [path for path in before if not path.startswith("default/data/")] == [f"complete/default/data/{id}"]
    assert pachctl("export", "files", f"data@{id}", "--artifact-root", root).out.strip() == uri
    assert keys(root) == before


def test_an_export_that_is_killed_is_begun_anew(root: str, pachctl: Pachctl, tmp_path: Path) -> None:
    wanted = fill(pachctl, tmp_path)
    id = pachctl.json("inspect", "commit", "data@master")[0]["id"]
    with process("export", "files", "data@master", "--artifact-root", root) as running:
        # Small files are there long before the large one.
        while f"default/data/{id}/a" not in keys(root):
            assert running.poll() is None
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    there = keys(root)
    assert f"complete/default/data/{id}" not in there
    assert f"default/data/{id}/large" not in there
    pachctl("export", "files", "data@master", "--artifact-root", root)
    assert {path.removeprefix(f"default/data/{id}/"): digest(root, path) for path in keys(root) if path.startswith("default/")} == wanted
    assert f"complete/default/data/{id}" in keys(root)
