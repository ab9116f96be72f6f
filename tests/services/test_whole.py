"""A pipeline from its creation to its output, with the record on PostgreSQL and the objects in S3."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.records import SERVER
from tests.storage.conftest import S3_SETTINGS, S3_URL

ROOT = Path(__file__).parents[2]
COUNT = {
    "pipeline": {"name": "count"},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "transform": {"cmd": ["sh"], "stdin": ["for book in /pfs/books/*; do wc -w < $book > /pfs/out/$(basename $book); done"]},
}

pytestmark = pytest.mark.skipif(SERVER is None or S3_URL is None, reason="needs PostgreSQL and S3")


def test_pipeline_runs_with_nothing_but_settings_in_its_home(tmp_path: Path, metadata_url: str, environment_of_its_own: Path) -> None:
    storage = f"{S3_URL}/{secrets.token_hex(8)}"
    environ = {**os.environ, **S3_SETTINGS, "PACHYDERM_METADATA_URL": metadata_url, "PACHYDERM_STORAGE_URL": storage}

    def pachctl(*words: str, stdin: str = "") -> str:
        command = [sys.executable, "-m", "pachyderm_dagster", *words]
        answer = subprocess.run(command, cwd=ROOT, env=environ, input=stdin, text=True, capture_output=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    (tmp_path / "count.json").write_text(json.dumps(COUNT))
    pachctl("create", "repo", "books")
    pachctl("create", "pipeline", "-f", str(tmp_path / "count.json"))
    pachctl("put", "file", "books@master:/hamlet", "-f", "-", stdin="to be or not to be")
    pachctl("put", "file", "books@master:/moby", "-f", "-", stdin="call me Ishmael")
    pachctl("wait", "commit", "books@master")
    pachctl("flush", "commit", "books@master")
    assert pachctl("get", "file", "count@master:/hamlet").split() == ["6"]
    assert pachctl("get", "file", "count@master:/moby").split() == ["3"]
    assert not (environment_of_its_own / "metadata.db").exists()
    assert not (environment_of_its_own / "objects").exists()
