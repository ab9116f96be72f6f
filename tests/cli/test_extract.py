"""`extract` and `restore`: the same home elsewhere."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.open_store import open_store
from tests.cli.pachctl import ROOT, Pachctl
from tests.moving.answers import answers
from tests.storage.conftest import S3_SETTINGS, S3_URL

pytestmark = pytest.mark.file_record


@pytest.fixture
def filled(worked: Pachctl) -> Pachctl:
    """A home with jobs, and with what a store alone does not tell: an open commit, a transaction, notes, a trigger, a stopped pipeline."""
    worked("create", "project", "other", "-d", "another one")
    worked("edit", "metadata", "cluster", ".", "add", "owner=ann", "repo", "books", "add", "shelf=3")
    worked("create", "repo", "notes")
    worked.put("notes@master:/a", "first")
    worked.put("notes@master:/a", "second")
    worked("create", "branch", "notes@tagged", "--trigger", "master", "--trigger-commits", "5")
    worked("start", "commit", "notes@draft", "--description", "not yet")
    worked.put("notes@draft:/half", "half of it")
    worked("stop", "pipeline", "loud")
    worked("squash", "commit", "notes@master^")
    worked("start", "transaction")
    worked("create", "repo", "later")
    worked("stop", "transaction")
    return worked


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Has the command line use another, new home from now on."""

    def go() -> Path:
        home = tmp_path / f"home-{secrets.token_hex(4)}"
        monkeypatch.setenv("PACHYDERM_HOME", str(home))
        return home

    return go


def test_restored_home_answers_as_the_one_before(filled: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(filled)
    filled("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    filled("restore", "-f", str(tmp_path / "home.extract"), "--verify")
    assert answers(filled) == before
    assert filled.json("fsck", "--deep") == []


def test_open_commit_goes_on_after_a_restore(filled: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    filled("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    filled("restore", "-f", str(tmp_path / "home.extract"))
    filled("finish", "commit", "notes@draft")
    assert filled("get", "file", "notes@draft:/half").out == "half of it"


def test_open_transaction_is_finished_after_a_restore(filled: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    (transaction,) = filled.json("list", "transaction")
    filled("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    filled("restore", "-f", str(tmp_path / "home.extract"))
    filled("finish", "transaction", transaction["id"])
    assert "later" in [repo["name"] for repo in filled.json("list", "repo")]


def test_what_was_skipped_is_skipped_after_a_restore(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    worked("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    worked("restore", "-f", str(tmp_path / "home.extract"))
    worked.put("books@master:/emma", "handsome, clever, and rich")
    worked.run("flush", "commit", "books@master")
    newest = worked.json("list", "job", "-p", "count")[0]
    assert (newest["data_processed"], newest["data_skipped"]) == (1, 3)


def test_new_rows_never_take_the_numbers_of_old_ones(filled: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    filled("delete", "repo", "notes", "--force")
    filled("extract", "-o", str(tmp_path / "home.extract"))
    home = elsewhere()
    filled("restore", "-f", str(tmp_path / "home.extract"))
    filled("create", "repo", "notes")
    filled.put("notes@master:/new", "new")
    for path in home.glob("metadata.db*"):
        path.unlink()
    filled("fsck", "--rebuild")
    assert [file["path"] for file in filled.json("glob", "file", "notes@master:/**")] == ["/new"]


def test_restored_record_can_be_rebuilt_from_its_store(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    worked("extract", "-o", str(tmp_path / "home.extract"))
    home = elsewhere()
    worked("restore", "-f", str(tmp_path / "home.extract"))
    before = answers(worked)
    for path in home.glob("metadata.db*"):
        path.unlink()
    worked("fsck", "--rebuild")
    assert answers(worked) == before


def test_garbage_and_given_up_content_stay_behind(pachctl: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    pachctl("create", "repo", "notes")
    pachctl.put("notes@master:/small", "small")
    noise = secrets.token_bytes(3_000_000)
    pachctl("put", "file", "notes@side:/large", "-f", "-", stdin=noise)
    pachctl("delete", "commit", "notes@side")
    pachctl("extract", "-o", str(tmp_path / "home.extract"))
    assert (tmp_path / "home.extract").stat().st_size < 100_000
    elsewhere()
    pachctl("restore", "-f", str(tmp_path / "home.extract"), "--verify")


def test_extract_is_streamed_from_one_process_to_another(filled: Pachctl, elsewhere: Callable[[], Path]) -> None:
    before = answers(filled)
    command = [sys.executable, "-m", "pachyderm_dagster"]
    source = dict(os.environ)
    target = {**source, "PACHYDERM_HOME": str(elsewhere())}
    with subprocess.Popen([*command, "extract"], cwd=ROOT, env=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as extracting:
        assert extracting.stdout is not None
        subprocess.run([*command, "restore"], cwd=ROOT, env=target, stdin=extracting.stdout, stdout=subprocess.DEVNULL, check=True)
    assert answers(filled) == before


def test_folder_is_brought_up_to_date_and_holds_no_more_than_is_needed(filled: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    folder = f"{tmp_path}/extract/"
    filled("create", "repo", "large")
    filled("put", "file", "large@master:/a", "-f", "-", stdin=secrets.token_bytes(2_000_000))
    filled("extract", "-o", folder)
    first = {path.name: path.stat().st_mtime_ns for path in Path(folder, "objects").rglob("*") if path.is_file()}
    filled("delete", "repo", "large")
    filled.put("notes@master:/b", "third")
    filled("extract", "-o", folder)
    second = {path.name: path.stat().st_mtime_ns for path in Path(folder, "objects").rglob("*") if path.is_file()}
    assert {name: second[name] for name in first.keys() & second.keys()} == {name: first[name] for name in first.keys() & second.keys()}
    assert first.keys() - second.keys()
    assert second.keys() - first.keys()
    assert len(list(Path(folder, "extracts").iterdir())) >= 1
    before = answers(filled)
    elsewhere()
    filled("restore", "-f", folder)
    assert answers(filled) == before


def test_home_is_copied_directly(filled: Pachctl, environment_of_its_own: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(filled)
    elsewhere()
    filled("restore", "--from", str(environment_of_its_own))
    assert answers(filled) == before


def test_record_alone_moves_while_its_store_stays(filled: Pachctl, tmp_path: Path, environment_of_its_own: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(filled)
    filled("extract", "--no-objects", "-o", str(tmp_path / "record.extract"))
    home = elsewhere()
    assert filled.fail("restore", "-f", str(tmp_path / "record.extract")) == "restore-objects-missing"
    (home / "objects").rename(tmp_path / "unused")
    (environment_of_its_own / "objects").rename(home / "objects")
    filled("restore", "-f", str(tmp_path / "record.extract"), "--verify")
    assert answers(filled) == before


def test_pipelines_can_be_left_out(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    files = worked.json("glob", "file", "count@master:/**")
    worked("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    worked("restore", "-f", str(tmp_path / "home.extract"), "--no-pipelines")
    assert worked.json("list", "pipeline") == worked.json("list", "job") == []
    assert worked.json("glob", "file", "count@master:/**") == files
    worked.put("count@master:/by-hand", "a user's")


def test_home_that_holds_something_is_not_restored_into(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(worked)
    worked("extract", "-o", str(tmp_path / "home.extract"))
    assert worked.fail("restore", "-f", str(tmp_path / "home.extract")) == "home-not-empty"
    assert answers(worked) == before
    home = elsewhere()
    worked("list", "repo")
    (home / "objects" / "objects" / "00").mkdir(parents=True)
    (home / "objects" / "objects" / "00" / ("00" * 32)).write_bytes(b"?")
    assert worked.fail("restore", "-f", str(tmp_path / "home.extract")) == "home-not-empty"


def test_home_that_was_only_looked_at_is_empty(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(worked)
    worked("extract", "-o", str(tmp_path / "home.extract"))
    elsewhere()
    assert worked.json("list", "repo") == []
    worked("restore", "-f", str(tmp_path / "home.extract"))
    assert answers(worked) == before


def test_store_of_a_home_is_no_place_for_an_extract(worked: Pachctl, environment_of_its_own: Path) -> None:
    assert worked.fail("extract", "-o", str(environment_of_its_own / "objects")) == "target-in-use"


def test_damaged_object_is_not_extracted(pachctl: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    pachctl("create", "repo", "large")
    pachctl("put", "file", "large@master:/a", "-f", "-", stdin=secrets.token_bytes(3_000_000))
    largest = max((path for path in (environment_of_its_own / "objects/objects").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[1000] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(data)
    answer = pachctl.run("extract", "-o", str(tmp_path / "home.extract"))
    assert (answer.status, answer.code) == (1, "object-corrupt")
    assert largest.name in answer.err
    assert not (tmp_path / "home.extract").exists()


def test_corrupt_extract_changes_nothing_and_the_whole_one_goes_on(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(worked)
    whole, torn = tmp_path / "home.extract", tmp_path / "torn.extract"
    worked("extract", "-o", str(whole))
    torn.write_bytes(whole.read_bytes()[:-100])
    elsewhere()
    assert worked.fail("restore", "-f", str(torn)) == "extract-torn"
    # What was stored by then is of no use to anybody else, and nobody takes it for a lost home.
    assert worked.fail("list", "repo") == "restore-unfinished"
    assert worked.fail("fsck", "--rebuild") == "restore-unfinished"
    worked("restore", "-f", str(whole), "--verify")
    assert answers(worked) == before


def test_other_extract_does_not_go_on_with_an_interrupted_one(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    one, two = tmp_path / "one.extract", tmp_path / "two.extract"
    worked("extract", "-o", str(one))
    worked("extract", "-o", str(two))
    one.write_bytes(one.read_bytes()[:-100])
    elsewhere()
    assert worked.fail("restore", "-f", str(one)) == "extract-torn"
    assert worked.fail("restore", "-f", str(two)) == "restore-unfinished"


# Restores what it is given, and is killed at the call of the given number; prints how many calls there were.
KILLED = """
import sys
from pachyderm_dagster.cli.main import main
from tests.crash.killing import Killer, count_calls, do_not_sync
killer = Killer()
do_not_sync()
count_calls(killer)
killer.arm(int(sys.argv[1]) or None)
status = main(["restore", *sys.argv[2:]])
print(killer.calls, file=sys.stderr)
sys.exit(status)
"""


def restore_killed(at: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", KILLED, str(at), *words], cwd=ROOT, text=True, capture_output=True)


def test_restore_that_was_killed_goes_on(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    before = answers(worked)
    extract = str(tmp_path / "home.extract")
    worked("extract", "-o", extract)
    elsewhere()
    calls = int(restore_killed(0, "-f", extract).stderr.split()[-1])
    kills, wanted = 0, max(int(os.environ.get("TEST_KILLS", "64")) // 10, 6)
    for at in range(2, calls, max(calls // wanted, 1)):
        elsewhere()
        # Threads share the calls, so that the last of them may come to fewer.
        kills += restore_killed(at, "-f", extract).returncode != 0
        again = worked.run("restore", "-f", extract)
        assert again.status == 0 or again.code == "home-not-empty", (at, again.err)
        assert answers(worked) == before, at
        assert not [found for found in worked.json("fsck", "--deep") if not found["upkeep"]], at
    assert kills > 3


def test_restore_that_ends_while_it_looks_at_the_home_goes_on(
    worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(worked)
    extract = str(tmp_path / "home.extract")
    worked("extract", "-o", extract)
    elsewhere()

    def fill_up(*_: object, **__: object) -> NoReturn:
        raise StorageError("storage-full", "no room")

    with monkeypatch.context() as patch:
        patch.setattr("pachyderm_dagster.cli.restore.check_home", fill_up)
        assert worked.fail("restore", "-f", extract) == "storage-full"
    assert answers(worked) == before
    worked("restore", "-f", extract)
    assert worked.fail("restore", "-f", extract) == "home-not-empty"


def test_damaged_copy_of_an_object_in_a_folder_is_refused(worked: Pachctl, tmp_path: Path, elsewhere: Callable[[], Path]) -> None:
    folder = tmp_path / "extract"
    worked("extract", "-o", f"{folder}/")
    some = next(path for path in (folder / "objects").rglob("*") if path.is_file())
    data = bytearray(some.read_bytes())
    data[-40] ^= 1
    some.chmod(0o644)
    some.write_bytes(data)
    elsewhere()
    answer = worked.run("restore", "-f", str(folder))
    assert (answer.status, answer.code) == (1, "object-corrupt")
    assert some.name in answer.err


def test_what_is_no_extract_is_told(pachctl: Pachctl, tmp_path: Path) -> None:
    assert pachctl.fail("restore", "-f", str(tmp_path / "nothing")) == "extract-not-found"
    assert pachctl.fail("restore", "-f", str(tmp_path)) == "extract-not-found"
    assert pachctl.fail("restore", stdin=b"some text\n") == "extract-format"
    assert pachctl.fail("restore", stdin=b"") == "extract-torn"
    assert pachctl.fail("extract", "--no-repos") == "option-gone"
    assert "give one of them" in pachctl.misuse("restore", "--from", str(tmp_path), "-f", "x")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if S3_URL is None:
        pytest.skip("needs S3")
    for name, value in S3_SETTINGS.items():
        monkeypatch.setenv(name, value)
    url = f"{S3_URL}/{secrets.token_hex(8)}"
    yield url
    store = open_store(url)
    for found in list(store.list("")):
        store.delete(found.key)


def test_home_moves_to_a_bucket_and_back(filled: Pachctl, tmp_path: Path, bucket: str, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(filled)
    filled("extract", "-o", f"{bucket}/extract")
    home = elsewhere()
    monkeypatch.setenv("PACHYDERM_STORAGE_URL", f"{bucket}/store")
    filled("restore", "-f", f"{bucket}/extract", "--verify")
    assert answers(filled) == before
    (home / "config.toml").write_text(f'PACHYDERM_STORAGE_URL = "{bucket}/store"\n')
    monkeypatch.delenv("PACHYDERM_STORAGE_URL")
    elsewhere()
    filled("restore", "--from", str(home), "--verify")
    assert answers(filled) == before
