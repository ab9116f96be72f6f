"""What fsck finds in a home that something happened to, and what it puts right."""

import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.codec import Buffer, content_digest
from pachyderm_dagster.errors import StorageError, UnreachableError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs.holdings import read_holdings
from pachyderm_dagster.pps.checking import LEFTOVER_AGE
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Answer, Pachctl
from tests.docs.markdown import ROOT
from tests.records import change_record, lose_record

HOME_OF_0001 = ROOT / "tests" / "metadata" / "homes" / "0001.tar.gz"


@pytest.fixture
def home(environment_of_its_own: Path, pachctl: Pachctl) -> Path:
    """A home with a repo of two commits: /a, then /b in a pack of its own."""
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/a", "first " * 100)
    pachctl.put("data@master:/b", "second " * 100)
    return environment_of_its_own


def codes(answer: Answer) -> list[str]:
    return [document["code"] for document in answer.documents]


def fsck(pachctl: Pachctl, *options: str) -> Answer:
    return pachctl.run("fsck", *options, "-o", "json")


def pack_with(home: Path, text: bytes) -> Path:
    (found,) = [path for path in (home / "objects" / "objects").rglob("*") if path.is_file() and text in path.read_bytes()]
    return found


def flip(path: Path, text: bytes) -> None:
    """Changes one byte of the first occurrence of `text`."""
    data = bytearray(path.read_bytes())
    data[data.index(text)] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_sound_home_has_no_problems(pachctl: Pachctl, home: Path) -> None:
    answer = fsck(pachctl, "--deep")
    assert (answer.status, answer.out) == (0, "")


def test_missing_object_is_named_with_the_commits_and_files_that_it_hurts(pachctl: Pachctl, home: Path) -> None:
    pack_with(home, b"second ").unlink()
    answer = fsck(pachctl)
    assert answer.status == 1
    assert answer.code == "problems-found"
    assert "is missing" in answer.documents[0]["message"]
    assert codes(answer)[0] == "object-damaged"
    (lost,) = [document for document in answer.documents if document["code"] == "content-lost"]
    second = pachctl("inspect", "commit", "data@master", "-o", "json").document["id"]
    assert f"data@{second}" in lost["message"]


def test_content_that_changed_is_found_by_deep_alone(pachctl: Pachctl, home: Path) -> None:
    flip(pack_with(home, b"second "), b"second ")
    assert fsck(pachctl).status == 0
    answer = fsck(pachctl, "--deep")
    assert codes(answer) == ["object-damaged", "content-lost"]
    assert "/b" in answer.documents[1]["message"]
    assert "/a" not in answer.documents[1]["message"]


def test_tree_node_that_changed_is_found_without_reading_content(pachctl: Pachctl, home: Path) -> None:
    path = pack_with(home, b"second ")
    flip(path, b"PDT\x02")
    assert codes(fsck(pachctl))[0] == "object-damaged"


def test_object_that_was_cut_is_found_by_its_size(pachctl: Pachctl, home: Path) -> None:
    path = pack_with(home, b"first ")
    path.chmod(0o644)
    os.truncate(path, 10)
    answer = fsck(pachctl)
    assert "has 10 bytes" in answer.documents[0]["message"]


def test_old_content_that_is_lost_hurts_every_commit_that_holds_it(pachctl: Pachctl, home: Path) -> None:
    flip(pack_with(home, b"first "), b"first ")
    lost = [document["message"] for document in fsck(pachctl, "--deep").documents if document["code"] == "content-lost"]
    assert len(lost) == 2
    assert all("1 files or datums that cannot be read: /a" in message for message in lost)


def test_damage_to_a_file_set_is_found(pachctl: Pachctl, home: Path) -> None:
    workspace = open_workspace(os.environ)
    with workspace.pfs.create_file_set() as files:
        files.put_bytes("/x", b"set aside " * 100)
    workspace.close()
    pack_with(home, b"set aside ").unlink()
    answer = fsck(pachctl)
    (damaged,) = [document for document in answer.documents if document["code"] == "layer-damaged"]
    assert damaged["message"].startswith(f"file set '{files.id}': ")


def test_damage_to_what_was_given_up_and_is_still_kept_is_found(pachctl: Pachctl, home: Path) -> None:
    flip(pack_with(home, b"second "), b"second ")
    pachctl("delete", "repo", "data")
    lost = [document["message"] for document in fsck(pachctl, "--deep").documents if document["code"] == "content-lost"]
    assert len(lost) == 1
    assert lost[0].startswith("what was given up at ")


def test_commit_with_lost_content_gets_an_error_only_when_asked(pachctl: Pachctl, home: Path) -> None:
    flip(pack_with(home, b"second "), b"second ")
    assert fsck(pachctl, "--deep", "--fix").status == 1
    assert pachctl("inspect", "commit", "data@master", "-o", "json").document["error"] is None
    fsck(pachctl, "--deep", "--fix", "--mark-lost")
    assert pachctl("inspect", "commit", "data@master", "-o", "json").document["error"] == "fsck: part of its content is lost"
    pachctl.put("data@master:/c", "third")
    assert [file["path"] for file in pachctl.json("list", "file", "data@master")] == ["/a", "/c"]


def test_content_that_another_pack_holds_too_is_mended(pachctl: Pachctl, home: Path) -> None:
    damaged = pack_with(home, b"second ")
    pachctl.put("data@master:/copy", "second " * 100)
    flip(damaged, b"second ")
    answer = fsck(pachctl, "--deep", "--fix")
    assert answer.status == 0
    assert all(document["fixed"] for document in answer.documents)
    assert pachctl("get", "file", "data@master:/b").out == "second " * 100
    assert fsck(pachctl, "--deep").out == ""


def test_mending_that_was_killed_is_finished(pachctl: Pachctl, home: Path) -> None:
    pack = pack_with(home, b"second ")
    aside = home / "objects" / "mended" / pack.name
    aside.parent.mkdir()
    pack.rename(aside)
    assert fsck(pachctl).status == 1
    assert fsck(pachctl, "--fix").status == 0
    assert pachctl("get", "file", "data@master:/b").out == "second " * 100


def test_lost_record_of_a_commit_is_written_again(pachctl: Pachctl, home: Path) -> None:
    for path in (home / "objects" / "objects").rglob("*"):
        if path.is_file():
            forget_records(path)
    answer = fsck(pachctl, "--deep", "--fix")
    assert codes(answer) == ["records-lost"]
    assert fsck(pachctl, "--deep").status == 0


def forget_records(path: Path) -> None:
    """Gives every commit record in a pack another name, in an index that is whole."""
    data = path.read_bytes()
    count = int.from_bytes(data[-40:-32], "little")
    index = data[len(data) - 48 - 40 * count : -48].replace(b"PDCOMMIT", b"PDNOTHIN")
    path.chmod(0o644)
    path.write_bytes(data[: len(data) - 48 - 40 * count] + index + data[-48:-32] + content_digest(index))


@pytest.mark.parametrize(
    ("code", "statement"),
    [
        ("head-missing", sa.update(t.branch).values(head_id=999)),
        ("head-none", sa.update(t.branch).values(head_id=None)),
        ("size", sa.update(t.commit).where(t.commit.c.id == 2).values(size_bytes=7)),
        ("root-damaged", sa.update(t.commit).where(t.commit.c.id == 2).values(tree=None)),
        ("layers-of-finished", sa.insert(t.commit_layer).values(commit_id=1, layer=b"\0")),
        pytest.param("row-dangling", sa.insert(t.commit_layer).values(commit_id=77, layer=b"\0"), marks=pytest.mark.file_record),
        ("parent-newer", sa.update(t.commit).where(t.commit.c.id == 1).values(parent_id=2)),
    ],
)
def test_problem_of_the_record_is_found_and_repaired(pachctl: Pachctl, home: Path, code: str, statement: sa.Executable) -> None:
    change_record(statement)
    found = fsck(pachctl)
    assert found.status == 1
    assert code in codes(found)
    repaired = fsck(pachctl, "--fix")
    assert repaired.status == 0
    assert all(document["fixed"] for document in repaired.documents)
    assert fsck(pachctl).status == 0
    assert {file["path"] for file in pachctl.json("list", "file", "data@master")} == {"/a", "/b"}


@pytest.mark.file_record
def test_parent_that_is_gone_is_gone_from_the_store_too(pachctl: Pachctl, home: Path) -> None:
    head = pachctl.put("data@master:/c", "third")
    change_record(sa.delete(t.commit).where(t.commit.c.id == 2))
    repaired = fsck(pachctl, "--fix")
    assert (repaired.status, codes(repaired)) == (0, ["row-dangling"])
    assert pachctl("inspect", "commit", f"data@{head}", "-o", "json").document["parent"] is None
    records = read_holdings(open_store((home / "objects").as_uri()), lambda _: None).records.values()
    assert [record.parent for record in records if record.id == head] == [None]


def test_circle_in_provenance_is_found_and_left_to_the_user(pachctl: Pachctl, home: Path) -> None:
    pachctl("create", "repo", "other")
    pachctl.put("other@master:/a", "a")
    change_record(sa.insert(t.branch_provenance).values([{"branch_id": 1, "upstream_id": 2}, {"branch_id": 2, "upstream_id": 1}]))
    answer = fsck(pachctl, "--fix")
    assert answer.status == 1
    assert codes(answer).count("provenance-cycle") == 2


def test_leftovers_of_killed_writes_are_removed(pachctl: Pachctl, home: Path) -> None:
    leftover = home / "objects" / "incoming" / "killed"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half")
    assert fsck(pachctl).status == 0
    old = leftover.stat().st_mtime - LEFTOVER_AGE.total_seconds() - 1
    os.utime(leftover, (old, old))
    assert codes(fsck(pachctl)) == ["leftovers"]
    assert fsck(pachctl, "--fix").status == 0
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("code", "statement"),
    [
        ("structure-unsaved", sa.update(t.record_state).values(saved=0)),
        ("commits-unrecorded", sa.update(t.commit).values(recorded=False)),
    ],
)
def test_what_the_store_has_yet_to_be_told_is_shown_and_is_no_problem(pachctl: Pachctl, home: Path, code: str, statement: sa.Executable) -> None:
    change_record(statement)
    found = fsck(pachctl)
    assert (found.status, codes(found)) == (0, [code])
    assert fsck(pachctl, "--fix").status == 0
    assert codes(fsck(pachctl)) == []


@pytest.mark.file_record
def test_home_of_the_release_before_can_be_rebuilt_after_fix(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    with tarfile.open(HOME_OF_0001) as archive:
        archive.extractall(tmp_path, filter="data")
    (record,) = tmp_path.rglob("metadata.db")
    record.parent.rename(environment_of_its_own / "old")
    for path in (environment_of_its_own / "old").iterdir():
        path.rename(environment_of_its_own / path.name)
    assert set(codes(fsck(pachctl))) == {"structure-unsaved", "commits-unrecorded"}
    assert fsck(pachctl, "--fix").status == 0
    before = [commit for commit in pachctl.json("list", "commit", "--all") if commit["finished"]], pachctl.json("list", "job", "-x")
    lose_record()
    (loss,) = pachctl("fsck", "--rebuild", "-o", "json").document["losses"]
    assert loss["code"] == "unfinished-commit"
    assert (pachctl.json("list", "commit", "--all"), pachctl.json("list", "job", "-x")) == before


def test_second_home_cannot_share_a_store(pachctl: Pachctl, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHYDERM_STORAGE_URL", (home / "objects").as_uri())
    monkeypatch.setenv("PACHYDERM_HOME", str(tmp_path / "second"))
    monkeypatch.setenv("PACHYDERM_METADATA_URL", f"sqlite:///{tmp_path}/second.db")
    assert pachctl.fail("list", "repo") == "record-lost"


def test_change_that_could_not_be_saved_is_saved_with_the_next(pachctl: Pachctl, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_new = FolderStore.put_new

    def full(store: FolderStore, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        if key.startswith("structure/"):
            raise StorageError("storage-full", "no room")
        return put_new(store, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "put_new", full)
        pachctl("create", "repo", "unsaved")
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["data", "unsaved"]
    assert codes(fsck(pachctl)) == ["structure-unsaved"]
    pachctl("create", "repo", "next")
    assert fsck(pachctl).status == 0


def test_newest_structures_are_kept_and_older_ones_removed(pachctl: Pachctl, home: Path) -> None:
    for name in "abcdef":
        pachctl("create", "repo", name)
    assert len(list((home / "objects" / "structure").iterdir())) == 3


def test_store_that_does_not_answer_ends_the_check_and_marks_nothing(pachctl: Pachctl, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pachctl("inspect", "commit", "data@master^", "-o", "json").document["id"]
    flip(pack_with(home, b"second "), b"second ")
    get_range = FolderStore.get_range
    calls = 0
    for unanswered in range(1, 100):
        calls = 0

        def drop_one(store: FolderStore, key: str, offset: int, length: int) -> bytes:
            nonlocal calls
            calls += 1
            if calls == unanswered:  # noqa: B023 -- called in this turn of the loop alone
                raise UnreachableError("storage-unreachable", "no answer")
            return get_range(store, key, offset, length)

        with monkeypatch.context() as patched:
            patched.setattr(FolderStore, "get_range", drop_one)
            code = fsck(pachctl, "--deep", "--fix", "--mark-lost").code
        assert pachctl("inspect", "commit", f"data@{first}", "-o", "json").document["error"] is None
        if calls < unanswered:
            break
        assert code == "storage-unreachable"
    assert 3 < calls < 99


def structures(home: Path) -> list[Path]:
    """The structure objects, the newest first."""
    return sorted((home / "objects" / "structure").iterdir(), reverse=True)


def empty_all(home: Path) -> None:
    for path in structures(home):
        path.chmod(0o644)
        path.write_bytes(b"")


def flip_newest(home: Path) -> None:
    path = structures(home)[0]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def delete_newest(home: Path) -> None:
    structures(home)[0].unlink()


def delete_all(home: Path) -> None:
    for path in structures(home):
        path.unlink()


@pytest.mark.parametrize("damage", [empty_all, flip_newest, delete_newest, delete_all])
def test_lost_or_damaged_structure_is_found_and_saved_again(pachctl: Pachctl, home: Path, damage: Callable[[Path], None]) -> None:
    pachctl("update", "repo", "data", "-d", "described last")
    damage(home)
    assert codes(fsck(pachctl)) == ["structure-lost"]
    assert fsck(pachctl, "--fix").status == 0
    assert fsck(pachctl, "--deep").out == ""
    lose_record()
    assert pachctl("fsck", "--rebuild", "-o", "json").document["losses"] == []
    assert pachctl.json("list", "repo")[0]["description"] == "described last"


def test_rebuild_says_that_the_newest_structure_was_damaged(pachctl: Pachctl, home: Path) -> None:
    pachctl("update", "repo", "data", "-d", "described last")
    flip_newest(home)
    lose_record()
    losses = pachctl("fsck", "--rebuild", "-o", "json").document["losses"]
    assert [loss["code"] for loss in losses] == ["structure-damaged"]
    pachctl("create", "repo", "more")
    assert fsck(pachctl).out == ""
