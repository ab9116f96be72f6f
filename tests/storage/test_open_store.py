"""Storage URLs and the format marker."""

from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError, StateError, UnreachableError
from pachyderm_dagster.storage.open_store import FORMAT, FORMAT_KEY, open_store


def test_folder_of_a_file_url_may_have_spaces_and_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "ein Örtchen"
    open_store(folder.as_uri()).put_new("objects/ab/abcd", b"x")
    assert (folder / "objects" / "ab" / "abcd").read_bytes() == b"x"


def test_new_store_says_which_format_it_holds(tmp_path: Path) -> None:
    open_store(tmp_path.as_uri())
    assert (tmp_path / "format").read_text() == "pachyderm-dagster storage 1\n"


def test_store_is_opened_again_with_what_it_holds(tmp_path: Path) -> None:
    open_store(tmp_path.as_uri()).put_new("objects/ab/abcd", b"x")
    assert open_store(tmp_path.as_uri()).get("objects/ab/abcd") == b"x"


def test_every_memory_store_is_new() -> None:
    open_store("memory://").put_new("objects/ab/abcd", b"x")
    assert [found.key for found in open_store("memory://").list("")] == [FORMAT_KEY]


@pytest.mark.parametrize("marker", [b"pachyderm-dagster storage 2\n", b"", FORMAT[:-1], b"\xff\xfe"])
def test_store_of_another_format_is_refused(tmp_path: Path, marker: bytes) -> None:
    (tmp_path / FORMAT_KEY).write_bytes(marker)
    with pytest.raises(StateError, match="storage 1") as caught:
        open_store(tmp_path.as_uri())
    assert caught.value.code == "storage-format"
    assert (tmp_path / FORMAT_KEY).read_bytes() == marker


@pytest.mark.parametrize("url", ["", "/a/folder", "file://", "file://host/folder", "s3://", "s3:///prefix", "ftp://host/folder", "memory"])
def test_unknown_url_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(InvalidError, match="file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://") as caught:
        open_store(url)
    assert caught.value.code == "storage-url-invalid"


def test_server_that_does_not_answer_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ENDPOINT_URL": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(UnreachableError, match="s3://bucket/prefix") as caught:
        open_store("s3://bucket/prefix")
    assert caught.value.code == "storage-unreachable"
