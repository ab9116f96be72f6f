"""Extracts of earlier schemas are restored with everything that was in them."""

import json
from pathlib import Path

import pytest

from pachyderm_dagster.metadata.schema import REVISIONS
from tests.cli.pachctl import Pachctl

EXTRACTS = Path(__file__).parent / "extracts"


@pytest.mark.parametrize("extract", sorted(EXTRACTS.glob("*.extract")), ids=lambda path: path.stem)
def test_extract_of_an_earlier_schema_is_restored(pachctl: Pachctl, extract: Path) -> None:
    held = json.loads(extract.with_suffix(".json").read_text())
    assert extract.stem in REVISIONS
    pachctl("restore", "-f", str(extract), "--verify")
    assert [[commit["id"], commit["origin"], commit["finished"]] for commit in pachctl.json("list", "commit", "books")] == held["commits"]
    for repo, files in held["files"].items():
        assert [[file["path"], file["hash"], file["size_bytes"]] for file in pachctl.json("glob", "file", f"{repo}@master:/**")] == files
    jobs = pachctl.json("list", "job", "-p", "count")
    assert [[job["id"], job["state"], job["data_processed"], job["data_skipped"]] for job in jobs] == held["jobs"]
    assert sorted(branch["name"] for branch in pachctl.json("list", "branch", "books")) == held["branches"]
    pachctl("finish", "commit", "books@draft")
    assert pachctl("get", "file", "books@draft:/half").out == "half of it\n"
    pachctl.put("books@master:/third", "one more")
    pachctl("flush", "commit", "books@master")
    newest = pachctl.json("list", "job", "-p", "count")[0]
    assert (newest["data_processed"], newest["data_skipped"]) == (1, 2)
