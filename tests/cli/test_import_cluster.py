"""`import cluster`: what a Pachyderm 2.x cluster shows, with buckets laid out as its S3 gateway does."""

import importlib
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.cli.import_cluster import list_buckets
from tests.cli.pachctl import Pachctl
from tests.storage.conftest import S3_SETTINGS, S3_URL

FIRST, SECOND, OPEN, FAILED, HIDDEN = ("1" * 32, "2" * 32, "3" * 32, "4" * 32, "5" * 32)


class Gateway:
    """Buckets on a real S3 server."""

    def __init__(self) -> None:
        self._s3 = importlib.import_module("boto3").client("s3")
        # No other test's buckets have this in their name; it is a repo of Pachyderm.
        self.repo = f"books-{secrets.token_hex(4)}"
        self.names: list[str] = []

    def show(self, prefix: str, files: Mapping[str, bytes], suffix: str = "") -> str:
        """Makes a bucket, or has it hold these files only; its name."""
        name = f"{prefix}{self.repo}{suffix}"
        if name not in self.names:
            self._s3.create_bucket(Bucket=name)
            self.names.append(name)
        self._empty(name)
        for path, data in files.items():
            self._s3.put_object(Bucket=name, Key=path, Body=data)
        return name

    def close(self) -> None:
        for name in self.names:
            self._empty(name)
            self._s3.delete_bucket(Bucket=name)

    def _empty(self, name: str) -> None:
        for found in self._s3.list_objects_v2(Bucket=name).get("Contents", ()):
            self._s3.delete_object(Bucket=name, Key=found["Key"])


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    if S3_URL is None:
        pytest.skip("needs S3")
    for name, value in S3_SETTINGS.items():
        monkeypatch.setenv(name, value)
    gateway = Gateway()
    yield gateway
    gateway.close()


def commit(repo: str, id: str, parent: str | None, second: int, **more: Any) -> dict[str, Any]:
    """As `list commit --raw` of 2.x prints one."""
    owner = {"name": repo, "type": "user", "project": {"name": "default"}}
    found = {
        "commit": {"repo": owner, "id": id, "branch": {"repo": owner, "name": "master"}},
        "origin": {"kind": "USER"},
        "started": f"2024-03-01T10:00:{second:02d}.123456789Z",
        "finished": f"2024-03-01T10:01:{second:02d}Z",
        "details": {"size_bytes": "12"},
    }
    return {**found, **({"parent_commit": {"repo": owner, "id": parent}} if parent else {}), **more}


def test_heads_come_as_commits_and_again_only_when_they_changed(pachctl: Pachctl, gateway: Gateway) -> None:
    large = secrets.token_bytes(9_000_000)
    master = gateway.show("master.", {"hamlet": b"to be\n", "dir/large": large}, ".default")
    staging = gateway.show("staging.", {"hamlet": b"or not\n"}, ".work")
    words = ["import", "cluster", "--bucket", master, "--bucket", staging, "-o", "json"]
    assert pachctl(*words).document == {"repos": 2, "branches": 2, "commits": 0, "heads": 2, "pipelines": 0, "skipped": []}
    assert pachctl("get", "file", f"{gateway.repo}@master:/dir/large").data == large
    assert pachctl("get", "file", f"work/{gateway.repo}@staging:/hamlet").out == "or not\n"
    assert pachctl(*words).document["heads"] == 0
    gateway.show("master.", {"hamlet": b"to be or not to be\n"}, ".default")
    assert pachctl(*words).document["heads"] == 1
    assert [file["path"] for file in pachctl.json("glob", "file", f"{gateway.repo}@master:/**")] == ["/hamlet"]
    newest, before = pachctl.json("list", "commit", gateway.repo)
    assert newest["parent"] == before["id"]
    assert [found for found in pachctl.json("fsck", "--deep") if not found["upkeep"]] == []


def test_commits_that_are_listed_come_with_their_ids(pachctl: Pachctl, gateway: Gateway, tmp_path: Path) -> None:
    repo = gateway.repo
    master = gateway.show("master.", {"a": b"two\n"}, ".default")
    gateway.show(f"{FIRST}.master.", {"a": b"one\n"}, ".default")
    gateway.show(f"{SECOND}.master.", {"a": b"two\n"}, ".default")
    listed = [
        commit(repo, OPEN, SECOND, 9, finished=None),
        commit(repo, HIDDEN, SECOND, 8),
        commit(repo, SECOND, FIRST, 4),
        commit(repo, FAILED, FIRST, 3, error="it broke"),
        commit(repo, FIRST, None, 2),
    ]
    (tmp_path / "commits.json").write_text("\n".join(json.dumps(each, indent=1) for each in listed))
    words = ["import", "cluster", "--bucket", master, "--commits", str(tmp_path / "commits.json"), "-o", "json"]
    answer = pachctl.run(*words)
    assert answer.document["commits"] == 3
    assert f"left out: commit {repo}@{OPEN}, which is not finished" in answer.err
    assert f"left out: commit {repo}@{HIDDEN}" in answer.err
    commits = pachctl.json("list", "commit", repo)
    assert [(each["id"], each["parent"], each["error"]) for each in commits] == [(SECOND, FIRST, None), (FAILED, FIRST, "it broke"), (FIRST, None, None)]
    assert (commits[2]["started"], commits[2]["finished"]) == ("2024-03-01T10:00:02.123456Z", "2024-03-01T10:01:02Z")
    assert pachctl("get", "file", f"{repo}@{FIRST}:/a").out == "one\n"
    assert pachctl("get", "file", f"{repo}@master:/a").out == "two\n"
    before = pachctl.json("list", "commit", repo)
    pachctl(*words)
    assert pachctl.json("list", "commit", repo) == before


def test_pipelines_come_as_their_authors_wrote_them(pachctl: Pachctl, gateway: Gateway, tmp_path: Path) -> None:
    master = gateway.show("master.", {"a": b"one two\n"}, ".default")
    status = {"version": "3", "state": "PIPELINE_RUNNING", "type": "PIPELINE_TYPE_TRANSFORM", "parallelism": "1", "auth_token": ""}
    details = {
        "transform": {"image": "alpine", "cmd": ["sh"], "stdin": [f"wc -w < /pfs/{gateway.repo}/a > /pfs/out/a"]},
        "input": {"pfs": {"project": "default", "name": gateway.repo, "repo": gateway.repo, "repo_type": "user", "branch": "master", "glob": "/*"}},
        "parallelism_spec": {"constant": "1"},
        "datum_tries": "3",
        "created_at": "2024-03-01T10:00:00Z",
        "output_branch": "master",
        "salt": "abc",
        "workers_requested": "1",
        "reprocess_spec": "until_success",
    }
    written = {"pipeline": {"name": "written"}, "transform": details["transform"], "input": details["input"]}
    listed = [
        {"pipeline": {"name": "counted", "project": {"name": "default"}}, **status, "details": details},
        {"pipeline": {"name": "written"}, **status, "details": {}, "user_spec_json": json.dumps(written)},
        {"pipeline": {"name": "other"}, **status, "details": {"transform": {"cmd": ["true"]}, "input": {"pfs": {"repo": "x", "glob": "/", "s3": True}}}},
    ]
    (tmp_path / "pipelines.json").write_text("".join(json.dumps(each) for each in listed))
    target = tmp_path / "specs.json"
    words = ["--pipelines-from", str(tmp_path / "pipelines.json"), "--pipelines", str(target)]
    answer = pachctl.run("import", "cluster", "--bucket", master, *words, "-o", "json")
    assert answer.document["pipelines"] == 2, answer.err
    assert "left out: pipeline 'other'" in answer.err
    pachctl("create", "pipeline", "-f", str(target))
    pachctl("flush", "commit", f"{gateway.repo}@master")
    assert pachctl("get", "file", "counted@master:/a").out.strip() == "2"


def test_all_buckets_are_listed(gateway: Gateway) -> None:
    master = gateway.show("master.", {}, ".default")
    assert master in list_buckets()


def test_buckets_of_nobody_and_files_of_others_are_refused(pachctl: Pachctl, tmp_path: Path) -> None:
    assert pachctl.fail("import", "cluster", "--bucket", "a.b.c.d") == "bucket-invalid"
    (tmp_path / "not.json").write_text("nothing")
    assert pachctl.fail("import", "cluster", "--bucket", "master.books", "--commits", str(tmp_path / "not.json")) == "import-invalid"
    (tmp_path / "not.json").write_text('{"repo": {"name": "books"}}')
    assert pachctl.fail("import", "cluster", "--bucket", "master.books", "--commits", str(tmp_path / "not.json")) == "import-invalid"
