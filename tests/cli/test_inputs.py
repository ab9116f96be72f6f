"""The worked tables of joins and groups, as somebody at a shell sees them."""

import json
from typing import Any

import pytest

from tests.cli.pachctl import Pachctl

LEFT, RIGHT = ("1", "2", "3a", "3b"), ("2x", "3x", "4x")


@pytest.fixture
def sides(pachctl: Pachctl) -> Pachctl:
    """Two repos with files whose names begin with their key."""
    for repo, names in (("L", LEFT), ("R", RIGHT)):
        pachctl("create", "repo", repo)
        for name in names:
            pachctl.put(f"{repo}@master:/{name}", name)
    return pachctl


def pipeline(input: dict[str, Any], **fields: Any) -> bytes:
    code = "cat $(find /pfs/L /pfs/R -type f 2>/dev/null | sort) > /pfs/out/$PACH_DATUM_ID"
    return json.dumps({"pipeline": {"name": "p"}, "transform": {"cmd": ["sh"], "stdin": [code]}, "input": input, **fields}).encode()


def keyed(kind: str, *outer: str, **fields: Any) -> dict[str, Any]:
    key = "group_by" if kind == "group" else "join_on"
    return {kind: [{"pfs": {"repo": repo, "glob": "/(?)*", key: "$1", **({"outer_join": True} if repo in outer else {}), **fields}} for repo in "LR"]}


def found(pachctl: Pachctl) -> set[str]:
    """What the datums of the pipeline's newest job read, by names of files, each as its code saw it."""
    pachctl("wait", "commit", "p@master")
    (job, *_) = pachctl.json("list", "job", "-p", "p")
    read = {"".join(file.rpartition("/")[2] for file in datum["files"]) for datum in pachctl.json("list", "datum", f"p@{job['id']}")}
    wrote = {pachctl("get", "file", f"p@master:{file['path']}").out for file in pachctl.json("list", "file", "p@master:/")}
    assert read == wrote
    return read


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        pytest.param(keyed("join"), {"22x", "3a3x", "3b3x"}, id="join"),
        pytest.param(keyed("join", "L"), {"1", "22x", "3a3x", "3b3x"}, id="left outer join"),
        pytest.param(keyed("join", "L", "R"), {"1", "22x", "3a3x", "3b3x", "4x"}, id="outer join"),
        pytest.param(keyed("group"), {"1", "22x", "3a3b3x", "4x"}, id="group"),
    ],
)
def test_worked_example_of_keys(sides: Pachctl, input: dict[str, Any], expected: set[str]) -> None:
    sides("create", "pipeline", stdin=pipeline(input))
    assert found(sides) == expected


def test_tables_show_joins_and_groups(sides: Pachctl) -> None:
    for input, shown in ((keyed("join"), "(L:/(?)* ⋈ R:/(?)*)"), (keyed("group"), "(L:/(?)* ⊎ R:/(?)*)")):
        assert shown in sides("validate", "pipeline", stdin=pipeline(input)).out


def test_inspected_pipeline_can_be_made_again(sides: Pachctl) -> None:
    sides("create", "pipeline", stdin=pipeline({"pfs": {"repo": "L", "glob": "/*", "batch": {"bytes": "1K"}, "trigger": {"size": "1"}}}))
    (shown,) = sides.json("inspect", "pipeline", "p")
    assert shown["input"]["pfs"]["batch"] == {"bytes": 1000}
    assert shown["input"]["pfs"]["trigger"] == {"branch": "master", "size": "1"}
    assert shown["input"]["pfs"]["branch"] == "p-trigger-1"
    sides("update", "pipeline", stdin=json.dumps(shown["spec"]).encode())
    assert [branch["name"] for branch in sides.json("list", "branch", "L")].count("p-trigger-1") == 1


def test_what_cannot_work_is_refused_with_the_way_out(sides: Pachctl) -> None:
    s3 = sides.run("create", "pipeline", stdin=pipeline({"pfs": {"repo": "L", "glob": "/", "s3": True}}))
    assert "it comes with the S3 gateway" in s3.err
    assert sides.fail("create", "pipeline", stdin=pipeline({"pfs": {"repo": "L", "glob": "/", "repo_type": "spec"}})) == "spec-unsupported"
    assert sides.fail("create", "pipeline", stdin=pipeline({"join": [{"pfs": {"repo": "L", "glob": "/*"}}]})) == "spec-invalid"
    assert sides.fail("create", "pipeline", stdin=pipeline({"group": [{"pfs": {"repo": "nowhere", "glob": "/*", "group_by": "$0"}}]})) == "repo-not-found"
