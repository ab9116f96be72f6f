"""A store belongs to one record: whoever rebuilt from it has it, and the one before is refused before it changes anything."""

import os
import shutil
from pathlib import Path

import pytest

from pachyderm_dagster.pfs.store_ids import StoreMark, decode_mark, encode_mark
from tests.cli.pachctl import Pachctl
from tests.records import SERVER

pytestmark = pytest.mark.skipif(SERVER is not None, reason="homes share the server's schema")


@pytest.fixture
def first(environment_of_its_own: Path, pachctl: Pachctl) -> Path:
    """A home with a commit."""
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/one", "1")
    return environment_of_its_own


def use(monkeypatch: pytest.MonkeyPatch, home: Path, store_of: Path) -> None:
    monkeypatch.setenv("PACHYDERM_HOME", str(home))
    monkeypatch.setenv("PACHYDERM_STORAGE_URL", (store_of / "objects").as_uri())


def take_over(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> Path:
    """A second home that was rebuilt from the store of the first, as the message of the second says."""
    second = first.parent / f"{first.name}-second"
    use(monkeypatch, second, first)
    answer = pachctl.run("list", "repo")
    assert answer.code == "record-lost"
    assert "another home that still uses the store is refused from then on" in answer.err
    pachctl("fsck", "--rebuild")
    return second


def test_record_from_whose_store_another_was_rebuilt_is_refused(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> None:
    second = take_over(pachctl, monkeypatch, first)
    pachctl.put("data@master:/two", "2")
    use(monkeypatch, first, first)
    for words in (["put", "file", "data@master:/three", "-f", "-"], ["create", "repo", "more"], ["delete", "repo", "data"]):
        assert pachctl.fail(*words) == "store-of-another"
    assert pachctl.fail("collect", "garbage", "--grace", "0s") == "store-of-another"
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["data"]
    use(monkeypatch, second, first)
    pachctl("collect", "garbage", "--grace", "0s")
    assert pachctl("get", "file", "data@master:/two").out == "2"
    assert pachctl("fsck").out == ""


def test_record_takes_its_store_back_with_all_that_was_put_meanwhile(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> None:
    second = take_over(pachctl, monkeypatch, first)
    pachctl.put("data@master:/two", "2")
    use(monkeypatch, first, first)
    pachctl("fsck", "--rebuild", "--force")
    assert pachctl("get", "file", "data@master:/two").out == "2"
    use(monkeypatch, second, first)
    assert pachctl.fail("create", "repo", "more") == "store-of-another"


def test_record_that_holds_something_does_not_take_the_store_of_another(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> None:
    other = first.parent / f"{first.name}-other"
    use(monkeypatch, other, other)
    pachctl("create", "repo", "elsewhere")
    use(monkeypatch, other, first)
    assert pachctl.fail("fsck", "--rebuild", "--force") == "store-of-another"
    use(monkeypatch, first, first)
    pachctl.put("data@master:/two", "2")


def test_copy_of_a_home_loses_nothing_to_the_collector_of_the_other(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> None:
    copy = first.parent / f"{first.name}-copy"
    shutil.copytree(first, copy)
    use(monkeypatch, copy, first)
    of_copy = pachctl.put("data@master:/copy", "of the copy" * 1000)
    use(monkeypatch, first, first)
    for path in (first / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    assert pachctl("collect", "garbage", "--grace", "0s", "-o", "json").document["unknown_commits"] == [f"data@{of_copy}"]
    use(monkeypatch, copy, first)
    assert pachctl("get", "file", "data@master:/copy").out == "of the copy" * 1000


def test_copy_of_a_home_that_changed_the_structure_is_noticed(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path) -> None:
    copy = first.parent / f"{first.name}-copy"
    shutil.copytree(first, copy)
    use(monkeypatch, copy, first)
    pachctl("create", "repo", "more")
    pachctl("create", "repo", "most")
    use(monkeypatch, first, first)
    pachctl("create", "repo", "again")
    assert [problem["code"] for problem in pachctl.run("fsck", "-o", "json").documents] == ["record-behind", "structure-unsaved"]
    assert pachctl.run("fsck", "--fix").code == "problems-found"
    pachctl("fsck", "--deep", "--fix", "--drop-unknown")
    assert pachctl("fsck", "--deep").out == ""


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_damaged_mark_is_told_from_that_of_another_and_written_again(pachctl: Pachctl, first: Path, damage: bytes) -> None:
    path = first / "objects" / "record"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(damage and bytes([data[0] ^ 1]) + data[1:])
    (problem,) = pachctl.run("fsck", "-o", "json").documents
    assert problem["code"] == "store-unmarked"
    assert pachctl.fail("collect", "garbage", "--grace", "0s") == "store-unmarked"
    pachctl.put("data@master:/two", "2")
    pachctl("fsck", "--fix")
    assert path.read_bytes() == data
    assert pachctl("fsck", "--deep").out == ""
    pachctl("collect", "garbage", "--grace", "0s")


def test_store_without_its_mark_takes_nothing_until_it_is_written_again(pachctl: Pachctl, first: Path) -> None:
    path = first / "objects" / "record"
    data = path.read_bytes()
    path.unlink()
    assert pachctl.fail("put", "file", "data@master:/two", "-f", "-") == "store-unmarked"
    (problem,) = pachctl.run("fsck", "-o", "json").documents
    assert problem["code"] == "store-unmarked"
    pachctl("fsck", "--fix")
    assert path.read_bytes() == data


def test_marks_of_earlier_releases_are_read() -> None:
    assert decode_mark(b"0123456789abcdef0123456789abcdef") == StoreMark("0123456789abcdef0123456789abcdef")
    taken = StoreMark("0" * 32, "1" * 32)
    assert decode_mark(encode_mark(taken)) == taken


@pytest.mark.parametrize("url", ["foo", "http://x/y", "file:///etc/hostname", "s3://user:secret@bucket/x", "memory://", "s3://[x", "file://elsewhere/x"])
def test_storage_url_that_no_home_can_have_is_refused_before_anything_is_done(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, first: Path, url: str) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PACHYDERM_STORAGE_URL", url)
        for words in (["create", "repo", "more"], ["config"]):
            answer = pachctl.run(*words)
            assert answer.code == "storage-url-invalid"
            assert "secret" not in answer.err
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["data"]
