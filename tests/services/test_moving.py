"""A home moves from PostgreSQL and S3 to SQLite and a folder, and back."""

import json
import secrets
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl
from tests.moving.answers import answers
from tests.records import SERVER, new_record_url
from tests.storage.conftest import S3_SETTINGS, S3_URL

COUNT = {
    "pipeline": {"name": "count"},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "transform": {"cmd": ["sh"], "stdin": ["for book in /pfs/books/*; do wc -w < $book > /pfs/out/$(basename $book); done"]},
}

pytestmark = pytest.mark.skipif(SERVER is None or S3_URL is None, reason="needs PostgreSQL and S3")


@pytest.fixture
def pachctl(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Pachctl:
    """The command line, on a home whose record is on PostgreSQL and whose store is in S3."""
    for name, value in {**S3_SETTINGS, "PACHYDERM_STORAGE_URL": f"{S3_URL}/{secrets.token_hex(8)}"}.items():
        monkeypatch.setenv(name, value)
    return Pachctl(capsysbinary, monkeypatch)


def test_home_moves_between_all_backends(pachctl: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "count.json").write_text(json.dumps(COUNT))
    pachctl("create", "repo", "books")
    pachctl("create", "pipeline", "-f", str(tmp_path / "count.json"))
    pachctl("put", "file", "books@master:/noise", "-f", "-", stdin=secrets.token_bytes(3_000_000))
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("flush", "commit", "books@master")
    pachctl("start", "commit", "books@draft")
    pachctl.put("books@draft:/half", "half of it")
    before = answers(pachctl)
    pachctl("extract", "-o", f"{S3_URL}/extract-{secrets.token_hex(4)}")
    pachctl("extract", "-o", str(tmp_path / "one.extract"))
    monkeypatch.delenv("PACHYDERM_METADATA_URL")
    monkeypatch.delenv("PACHYDERM_STORAGE_URL")
    monkeypatch.setenv("PACHYDERM_HOME", str(tmp_path / "embedded"))
    pachctl("restore", "-f", str(tmp_path / "one.extract"), "--verify")
    assert answers(pachctl) == before
    target = f"{S3_URL}/{secrets.token_hex(8)}"
    pachctl("extract", "-o", f"{target}/extract")
    with new_record_url(tmp_path) as record:
        for name, value in {"HOME": str(tmp_path / "served"), "METADATA_URL": record, "STORAGE_URL": f"{target}/store"}.items():
            monkeypatch.setenv(f"PACHYDERM_{name}", value)
        pachctl("restore", "-f", f"{target}/extract", "--verify")
        assert answers(pachctl) == before
        pachctl.put("books@master:/emma", "handsome, clever, and rich")
        pachctl("flush", "commit", "books@master")
        newest = pachctl.json("list", "job", "-p", "count")[0]
        assert (newest["data_processed"], newest["data_skipped"]) == (1, 2)
