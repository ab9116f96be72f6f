"""What only a folder can show: durability, kills, full disks, permissions."""

import datetime as dt
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.folder_store import INCOMING, FolderStore
from pachyderm_dagster.storage.objects import object_key

ROOT = Path(__file__).parents[2]
LAST_YEAR = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)

STALL_IN_THE_MIDDLE = """
import sys
from pathlib import Path
from pachyderm_dagster.storage.folder_store import FolderStore

class Stalling(list):
    def __getitem__(self, positions):
        if positions.start:
            print("half", flush=True)
            sys.stdin.read()
        return super().__getitem__(positions)

FolderStore(Path(sys.argv[1])).put_new("objects/ab/abcd", Stalling([b"x" * 1000] * 2048))
"""

WRITE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.objects import object_key

store = FolderStore(Path(sys.argv[1]))
for number in itertools.count():
    data = b"%d" % number * 100_000
    store.put_new(object_key(content_digest(data)), data)
    print(number, flush=True)
"""

FILL_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.folder_store import FolderStore

root = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", root], check=True)
print("mounted", flush=True)
store = FolderStore(root)
store.put_new("objects/aa/first", b"1" * 100_000)
try:
    store.put_new("objects/bb/second", b"2" * 1_000_000)
except StorageError as error:
    print(error.code)
print(sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()))
print(store.put_new("objects/cc/third", b"3" * 100_000))
"""


def start(script: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_object_is_invisible_while_half_of_it_is_written(tmp_path: Path) -> None:
    process = start(STALL_IN_THE_MIDDLE, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    (incoming,) = (tmp_path / INCOMING).iterdir()
    assert 0 < incoming.stat().st_size < 2_048_000
    kill(process)
    assert list(FolderStore(tmp_path).list("objects")) == []
    assert FolderStore(tmp_path).put_new("objects/ab/abcd", b"whole")


@pytest.mark.parametrize("writes", [1, 4, 9])
def test_killed_writer_leaves_only_whole_objects(tmp_path: Path, writes: int) -> None:
    process = start(WRITE_FOR_EVER, tmp_path)
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(writes)]
    kill(process)
    store = FolderStore(tmp_path)
    found = {info.key: store.get(info.key) for info in store.list("objects")}
    assert all(key == object_key(content_digest(data)) for key, data in found.items())
    assert {object_key(content_digest(b"%d" % number * 100_000)) for number in confirmed} <= found.keys()


def test_nothing_is_left_behind_by_finished_writes(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "new" / "folder")
    store.put_new("objects/ab/abcd", b"x")
    store.put_new("objects/ab/abcd", b"x")
    assert [path.name for path in (tmp_path / "new" / "folder").rglob("*") if path.is_file()] == ["abcd"]


def test_objects_are_read_only_files_with_one_name(tmp_path: Path) -> None:
    FolderStore(tmp_path).put_new("objects/ab/abcd", b"x")
    status = os.stat(tmp_path / "objects" / "ab" / "abcd")
    assert status.st_mode & 0o222 == 0
    assert status.st_nlink == 1


def test_full_disk_is_said_so_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", FILL_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("mounted"):
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip().splitlines()[-1:]}")
    assert done.stdout.splitlines() == ["mounted", "storage-full", "['objects/aa/first']", "True"], done.stderr


def test_file_too_long_for_the_limit_fails_with_the_reason(tmp_path: Path) -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + WRITE_FOR_EVER
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "File too large" in process.stderr
    assert process.stderr.rstrip().endswith("[storage-failed]")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_temporary_file_that_somebody_removes_fails_with_the_reason(tmp_path: Path) -> None:
    class Removing(list[bytes]):
        """Parts that take the file away that they are written to."""

        def __getitem__(self, positions: object) -> list[bytes]:  # type: ignore[override]  # only slices are asked for
            for path in (tmp_path / INCOMING).iterdir():
                path.unlink()
            return super().__getitem__(positions)  # type: ignore[no-any-return, call-overload]

    with pytest.raises(StorageError, match="No such file") as caught:
        FolderStore(tmp_path).put_new("objects/ab/abcd", Removing([b"x"]))
    assert caught.value.code == "storage-failed"
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__.__context__, RecursionError)


def test_link_to_a_folder_that_is_gone_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "gone")
    with pytest.raises(StorageError, match="No such file") as caught:
        FolderStore(tmp_path / "store").put_new("objects/ab/abcd", b"x")
    assert caught.value.code == "storage-failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_said_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="owner, mode") as caught:
        FolderStore(tmp_path / "store").put_new("objects/ab/abcd", b"x")
    assert caught.value.code == "storage-denied"


def test_file_in_place_of_the_folder_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageError, match="Not a directory") as caught:
        FolderStore(tmp_path / "store").put_new("objects/ab/abcd", b"x")
    assert caught.value.code == "storage-failed"


def test_kept_object_counts_as_modified_now(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.keep("objects/ab/abcd", b"some bytes")
    path = tmp_path / "objects/ab/abcd"
    os.utime(path, (1_000_000, 1_000_000))
    assert store.keep("objects/ab/abcd", b"some bytes") is False
    assert path.stat().st_mtime > 1_700_000_000
    assert path.stat().st_mode & 0o222 == 0
    assert list((tmp_path / INCOMING).iterdir()) == []


def an_old_object(folder: Path) -> tuple[FolderStore, str, Path]:
    """A store with one object of last year."""
    store = FolderStore(folder)
    key = object_key(content_digest(b"x"))
    store.put_new(key, b"x")
    os.utime(folder / key, (LAST_YEAR.timestamp(), LAST_YEAR.timestamp()))
    return store, key, folder / key


@pytest.mark.parametrize("moment", ["before it is taken away", "once it is taken away"])
def test_an_object_that_is_kept_while_it_is_being_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    store, key, _ = an_old_object(tmp_path)
    rename = os.rename

    def rename_and_keep(source: str, target: str) -> None:
        monkeypatch.undo()
        if moment == "before it is taken away":
            assert store.keep(key, b"x") is False
        rename(source, target)
        assert store.get(key) == b"x"
        if moment == "once it is taken away":
            assert store.keep(key, b"x") is True

    monkeypatch.setattr(os, "rename", rename_and_keep)
    assert store.remove_older(key, LAST_YEAR + dt.timedelta(days=1)) is (moment == "once it is taken away")
    assert store.get(key) == b"x"
    assert list((tmp_path / "trash").iterdir()) == []


def test_an_object_whose_removal_was_killed_is_read_and_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key, path = an_old_object(tmp_path)

    def kill(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "unlink", kill)
    with pytest.raises(KeyboardInterrupt):
        store.remove_older(key, LAST_YEAR + dt.timedelta(days=1))
    monkeypatch.undo()
    assert not path.exists()
    assert store.get(key) == b"x"
    store.recover()
    assert path.read_bytes() == b"x"
    assert list((tmp_path / "trash").iterdir()) == []


def test_two_who_remove_the_same_object_at_once_agree(tmp_path: Path) -> None:
    def remove(store: FolderStore, key: str, answers: list[bool]) -> None:
        answers.append(store.remove_older(key, LAST_YEAR + dt.timedelta(days=1)))

    for _ in range(20):
        store, key, _ = an_old_object(tmp_path)
        answers: list[bool] = []
        threads = [threading.Thread(target=remove, args=(store, key, answers)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [False, True]


def test_object_of_a_batch_has_its_name_only_when_its_bytes_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def note_fsync(descriptor: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "bytes")
        fsync(descriptor)

    def note_link(source: str, target: str) -> None:
        done.append("name")
        link(source, target)

    store = FolderStore(tmp_path)
    store.put_new("objects/ab/first", b"makes the folders")
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    batch = store.begin_batch()
    assert batch.keep("objects/ab/abcd", b"x")
    batch.flush()
    batch.stop()
    assert done == ["bytes", "name", "folder"]


def test_batch_syncs_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put_new("objects/ab/first", b"makes the folders")
    synced: list[int] = []
    fsync = os.fsync

    def recording_fsync(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    batch = store.begin_batch()
    for number in range(20):
        batch.keep(f"objects/ab/{number}", b"x")
    batch.flush()
    batch.stop()
    assert len(synced) == 20 + 1


def test_batch_that_lost_something_never_says_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    batch = FolderStore(tmp_path).begin_batch()
    with monkeypatch.context() as patch:
        batch.keep("objects/ab/abcd", b"x")
        patch.setattr(os, "fsync", fail)
        batch.keep("objects/ab/abce", b"x")
        with pytest.raises(StorageError):
            batch.flush()
    with pytest.raises(StorageError):
        batch.flush()
    batch.stop()
    assert not (tmp_path / "objects/ab/abce").exists()
    assert list((tmp_path / INCOMING).iterdir()) == []
