"""Whatever call of the store goes wrong: every step succeeds or raises a coded error, and nothing that was acknowledged is lost."""

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.record import StoreOfRecord
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from tests.storage.failing import FailingStore, Fault

LARGE = bytes(number % 251 for number in range(1_200_000))
CODES = {"storage-unreachable", "storage-full", "storage-denied", "object-corrupt"}
Files = dict[str, bytes]


class Writer:
    """Commits files at once and in open commits, reads them, and keeps what it was told is done."""

    def __init__(self, pfs: Pfs) -> None:
        self.pfs = pfs
        self.acknowledged: dict[str, Files] = {}
        self.head: Files = {}
        self.staged: Files = {}

    def steps(self) -> list[Callable[[], None]]:
        return [
            lambda: self.put({"/a": b"1", "/large": LARGE}),
            lambda: self.put({"/b/c": b"2", "/a": b"3"}),
            self.read,
            self.stage_and_finish,
            lambda: self.put({f"/many/{number:02}": b"%d" % number for number in range(3)}),
            self.copy,
            self.read,
        ]

    def put(self, files: Files) -> None:
        with self.pfs.modify_file("data@master") as changes:
            for path, data in files.items():
                changes.put_bytes(path, data)
        self.head = {**self.head, **files}
        self.acknowledged[changes.commit.id] = self.head

    def stage_and_finish(self) -> None:
        commit = self.pfs.start_commit("data@other")
        with self.pfs.modify_file("data@other") as changes:
            changes.put_bytes("/staged", b"staged")
        with self.pfs.modify_file("data@other") as changes:
            changes.put_bytes("/large", LARGE[:-1])
        self.pfs.finish_commit("data@other")
        self.acknowledged[commit.id] = {"/staged": b"staged", "/large": LARGE[:-1]}

    def copy(self) -> None:
        if "/large" in self.head:
            commit = self.pfs.copy_file("data@master:/large", "data@master:/copy")
            self.head = {**self.head, "/copy": LARGE}
            self.acknowledged[commit.id] = self.head

    def read(self) -> None:
        for path, data in self.head.items():
            assert b"".join(self.pfs.get_file(f"data@master:{path}")) == data


def run(folder: Path, store: ObjectStore, fault: Fault, at: int) -> bool:
    """Does every step with one fault, then looks whether all that was acknowledged is there; false when there were fewer calls than `at`."""
    failing = FailingStore(store, fault, at)
    of_record = StoreOfRecord("memory://")
    of_record._store = failing
    database = Database(open_engine(f"sqlite:///{folder}/{at}.db"), ManualClock(), [propagate], follow=of_record.follow)
    with closing(database):
        sound = Pfs(database, store)
        sound.create_repo("data")
        writer = Writer(Pfs(database, failing))
        failed = []
        for step in writer.steps():
            before = failing.calls
            try:
                step()
            except PachydermError as error:
                failed.append(error.code)
                assert before < at <= failing.calls
                # A write whose answer was lost may have been done; what the head holds is looked at below, as whatever it is.
                writer.head = files_of(sound, "data@master") if has_head(sound) else {}
        assert set(failed) <= CODES
        assert len(failed) <= 1
        with database.read() as txn:
            finished = [commit.id for commit in commits.list_commit(txn) if commit.finished is not None]
        # Those that nobody was told of are whole too.
        found = {commit: files_of(sound, f"data@{commit}") for commit in finished}
        assert {commit: found[commit] for commit in writer.acknowledged} == writer.acknowledged
    return at <= failing.calls


def has_head(pfs: Pfs) -> bool:
    with pfs.database.read() as txn:
        return any(commit.branch == "master" for commit in commits.list_commit(txn))


def files_of(pfs: Pfs, reference: str) -> Files:
    """Every file of a commit."""
    rows = pfs.glob_file(reference, "**").to_pylist()
    return {row["path"]: b"".join(pfs.get_file(f"{reference}:{row['path']}")) for row in rows if row["type"] == "file"}


@pytest.mark.parametrize("fault", Fault)
def test_fault_at_any_call_loses_nothing_that_was_acknowledged(tmp_path: Path, fault: Fault) -> None:
    reached = 0
    for at in itertools.count(1):
        if not run(tmp_path, open_store("memory://"), fault, at):
            break
        reached = at
    assert reached >= 5
