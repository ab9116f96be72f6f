"""`import extract`: what a Pachyderm 1.x cluster held."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pachctl import Pachctl
from tests.moving.old_pachyderm import OldCluster, snapped

FIRST, SECOND, OUTPUT, FAILED, SPEC = ("1" * 32, "2" * 32, "3" * 32, "4" * 32, "5" * 32)
COUNT = {
    "pipeline": {"name": "count"},
    "transform": {"cmd": ["sh"], "stdin": ["for b in /pfs/books/*; do wc -w < $b > /pfs/out/$(basename $b); done"], "env": [{"key": "A", "value": "b"}]},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "parallelism_spec": {"constant": 1},
    "datum_timeout": {"seconds": 90},
    "datum_tries": 2,
    "salt": "abc",
    "update": True,
    "spec_commit": {"repo": {"name": "__spec__"}, "id": SPEC},
}
GIT = {"pipeline": {"name": "clone"}, "transform": {"cmd": ["true"]}, "input": {"git": {"url": "https://example.org/repo.git"}}}


def commit(repo: str, id: str, parent: str = "", *, at: int, **fields: Any) -> dict[str, Any]:
    times = {"started": {"seconds": at}, "finished": {"seconds": at + 5, "nanos": 250_000_000}}
    return {"ID": id, "parent": {"repo": {"name": repo}, "id": parent}, **times, **fields}


def old_cluster(version: str) -> OldCluster:
    cluster = OldCluster(version)
    first = cluster.tree({"/hamlet": [b"to be or ", b"not to be\n"], "/dir/empty": []})
    second = cluster.tree({"/hamlet": [b"to be or ", b"not to be\n"], "/emma": [b"handsome, clever, and rich\n"]})
    for name, text in (("books", "plain text"), ("count", ""), ("__spec__", "")):
        cluster.do(repo={"repo": {"name": name}, "description": text})
    cluster.do(commit=commit("__spec__", SPEC, at=90))
    cluster.do(commit=commit("books", FIRST, at=100, tree={"hash": first}))
    cluster.do(commit=commit("books", SECOND, FIRST, at=200, tree={"hash": second}))
    sources = (("books", SECOND), ("__spec__", SPEC))
    read = [{"commit": {"repo": {"name": repo}, "id": id}, "branch": {"repo": {"name": repo}, "name": "master"}} for repo, id in sources]
    output: dict[str, Any]
    if version == "op1_7":
        output = {"tree": {"hash": cluster.tree({"/hamlet": [b"6\n"]})}}
    else:
        output = {"trees": [{"hash": cluster.shard({"/hamlet": b"6\n"})}, {"hash": cluster.shard({"/emma": b"4\n"})}]}
    cluster.do(commit=commit("count", OUTPUT, at=210, origin={"kind": 1}, provenance=read, **output))
    cluster.do(commit=commit("count", FAILED, OUTPUT, at=220, origin={"kind": 1}, provenance=read))
    cluster.do(branch={"head": {"repo": {"name": "books"}, "id": SECOND}, "branch": {"repo": {"name": "books"}, "name": "master"}})
    cluster.do(branch={"head": {"repo": {"name": "books"}, "id": FIRST}, "s_branch": "old", "trigger": {"branch": "master", "commits": 3}})
    cluster.do(branch={"head": {"repo": {"name": "count"}, "id": OUTPUT}, "branch": {"repo": {"name": "count"}, "name": "master"}})
    cluster.do(pipeline=COUNT)
    cluster.do(pipeline=GIT)
    cluster.do(job={"pipeline": {"name": "count"}, "data_processed": 2})
    return cluster


@pytest.mark.parametrize("version", ["op1_7", "op1_8", "op1_9", "op1_12", "op2_0"])
@pytest.mark.parametrize("wrap", [bytes, snapped], ids=["plain", "snappy"])
def test_repos_come_with_commits_files_and_branches(pachctl: Pachctl, version: str, wrap: Any) -> None:
    answer = pachctl.run("import", "extract", "-o", "json", stdin=wrap(old_cluster(version).written()))
    assert answer.status == 0, answer.err
    told = answer.document
    assert (told["repos"], told["commits"], told["branches"], told["pipelines"], told["left"]) == (2, 4, 3, 1, {"jobs": 1})
    assert "left out: pipeline 'clone'" in answer.err
    assert "left out: the trigger of branch books@" in answer.err
    commits = pachctl.json("list", "commit", "books")
    assert [(each["id"], each["parent"], each["branch"]) for each in commits] == [(SECOND, FIRST, "master"), (FIRST, None, "master")]
    assert (commits[1]["started"], commits[1]["finished"]) == ("1970-01-01T00:01:40Z", "1970-01-01T00:01:45.250000Z")
    assert pachctl("get", "file", f"books@{FIRST}:/hamlet").out == "to be or not to be\n"
    assert [file["path"] for file in pachctl.json("glob", "file", f"books@{FIRST}:/**") if file["type"] == "file"] == ["/dir/empty", "/hamlet"]
    assert [file["path"] for file in pachctl.json("glob", "file", "books@master:/**")] == ["/emma", "/hamlet"]
    assert pachctl("get", "file", "books@old:/hamlet").out == "to be or not to be\n"
    assert pachctl("get", "file", "count@master:/hamlet").out == "6\n"
    failed, output = pachctl.json("list", "commit", "count")
    assert (failed["id"], failed["error"], failed["origin"]) == (FAILED, "its job had failed in Pachyderm", "AUTO")
    assert (output["id"], output["direct_provenance"]) == (OUTPUT, [f"books@{SECOND}"])
    assert pachctl.json("inspect", "repo", "books")[0]["description"] == "plain text"
    assert [found for found in pachctl.json("fsck", "--deep") if not found["upkeep"]] == []


def test_pipelines_are_written_as_specifications_or_created(pachctl: Pachctl, tmp_path: Path) -> None:
    file = tmp_path / "pipelines.json"
    pachctl("import", "extract", "--pipelines", str(file), stdin=old_cluster("op1_12").written())
    assert pachctl.json("list", "pipeline") == []
    document = json.loads(file.read_text())
    assert (document["transform"]["env"], document["datum_timeout"], document["parallelism_spec"]) == ({"A": "b"}, "90s", {"constant": 1})
    assert not {"salt", "update", "spec_commit"} & document.keys()
    pachctl("create", "pipeline", "-f", str(file))
    # It tells of the commit that had failed there, too.
    pachctl.run("flush", "commit", "books@master")
    assert pachctl("get", "file", "count@master:/emma").out.strip() == "4"
    assert OUTPUT in [each["id"] for each in pachctl.json("list", "commit", "count")]


def test_pipelines_are_created_at_once_on_request(pachctl: Pachctl) -> None:
    pachctl("import", "extract", "--create-pipelines", stdin=old_cluster("op1_12").written())
    assert [pipeline["name"] for pipeline in pachctl.json("list", "pipeline")] == ["count"]


def test_import_goes_on_and_changes_nothing_that_is_there(pachctl: Pachctl) -> None:
    data = old_cluster("op1_12").written()
    assert pachctl.fail("import", "extract", stdin=data[: len(data) * 3 // 4]) == "import-invalid"
    pachctl("import", "extract", stdin=data)
    before = pachctl.json("list", "commit")
    pachctl("import", "extract", stdin=data)
    assert pachctl.json("list", "commit") == before


def test_repo_of_somebody_else_is_left_alone(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/mine", "mine")
    assert pachctl.fail("import", "extract", stdin=old_cluster("op1_12").written()) == "repo-exists"
    pachctl("create", "project", "old")
    pachctl("import", "extract", "--project", "old", stdin=old_cluster("op1_12").written())
    assert pachctl("get", "file", "old/books@master:/emma").out == "handsome, clever, and rich\n"
    assert pachctl("get", "file", "books@master:/mine").out == "mine"


def test_what_differs_from_its_hash_is_refused(pachctl: Pachctl) -> None:
    data = old_cluster("op1_12").written().replace(b"\0hamlet", b"\0hamleT")
    assert pachctl.fail("import", "extract", stdin=data) == "import-invalid"


def test_extract_without_objects_says_so(pachctl: Pachctl) -> None:
    cluster = OldCluster("op1_12")
    cluster.do(repo={"repo": {"name": "books"}})
    cluster.do(commit=commit("books", FIRST, at=1, tree={"hash": "ab" * 64}))
    answer = pachctl.run("import", "extract", stdin=cluster.written())
    assert answer.code == "import-invalid"
    assert "without --no-objects" in answer.err


@pytest.mark.parametrize("data", [b"PK\x03\x04 not this", b"pachyderm-dagster extract 1\n", b"\x08" + bytes(7) + b"\xff" * 8])
def test_other_files_are_refused(pachctl: Pachctl, data: bytes) -> None:
    assert pachctl.fail("import", "extract", stdin=data) == "import-invalid"
