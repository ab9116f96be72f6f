"""File sets: written, taken from commits, put together, sharded, read, expired."""

import datetime as dt
from collections.abc import Iterator

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.file_sets import PathRange
from pachyderm_dagster.workspace import Workspace, open_workspace

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def place(clock: ManualClock, environment_of_its_own: object) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(environment_of_its_own)}, clock=clock)
    opened.pfs.create_repo("data")
    yield opened
    opened.close()


@pytest.fixture
def pfs(place: Workspace) -> Pfs:
    return place.pfs


def put(pfs: Pfs, **files: bytes) -> str:
    with pfs.modify_file("data@master") as staged:
        for name, data in files.items():
            staged.put_bytes(f"/{name}", data)
    return staged.commit.id


def file_set(pfs: Pfs, **files: bytes) -> str:
    with pfs.create_file_set() as staged:
        for name, data in files.items():
            staged.put_bytes(f"/{name}", data)
    return staged.id


def files_of(pfs: Pfs, reference: str) -> dict[str, bytes]:
    return {info.path: b"".join(pfs.get_file(f"{reference}:{info.path}")) for info in pfs.list_file(f"{reference}:/")}


def test_file_set_is_read_like_a_commit_and_is_in_none(pfs: Pfs) -> None:
    made = file_set(pfs, a=b"1", b=b"22")
    assert files_of(pfs, f"__filesets__@{made}") == {"/a": b"1", "/b": b"22"}
    assert pfs.inspect_file(f"__filesets__@{made}:/b").size_bytes == 2
    with pytest.raises(NotFoundError):
        pfs.inspect_commit("data@master")


def test_nothing_is_kept_of_a_block_that_raises(pfs: Pfs) -> None:
    def fail() -> None:
        with pfs.create_file_set() as staged:
            staged.put_bytes("/a", b"1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()


def test_file_set_expires_unless_it_is_renewed(pfs: Pfs, clock: ManualClock) -> None:
    made, other = file_set(pfs, a=b"1"), file_set(pfs, a=b"2")
    clock.advance(9 * MINUTE)
    pfs.renew_file_set(made)
    clock.advance(2 * MINUTE)
    assert files_of(pfs, f"__filesets__@{made}") == {"/a": b"1"}
    for use in (
        lambda: pfs.root(f"__filesets__@{other}"),
        lambda: pfs.renew_file_set(other),
        lambda: pfs.add_file_set("data@master", other),
        lambda: pfs.compose_file_set(made, other),
        lambda: pfs.shard_file_set(other, files=1),
    ):
        with pytest.raises(NotFoundError) as caught:
            use()
        assert caught.value.code == "file-set-not-found"


def test_a_shorter_renewal_takes_no_time_away(pfs: Pfs, clock: ManualClock) -> None:
    made = file_set(pfs, a=b"1")
    pfs.renew_file_set(made, ttl=MINUTE)
    clock.advance(9 * MINUTE)
    assert files_of(pfs, f"__filesets__@{made}") == {"/a": b"1"}


@pytest.mark.parametrize("ttl", [dt.timedelta(0), dt.timedelta(minutes=31)])
def test_file_set_lives_between_a_second_and_half_an_hour(pfs: Pfs, ttl: dt.timedelta) -> None:
    made = file_set(pfs, a=b"1")
    with pytest.raises(InvalidError) as caught:
        pfs.renew_file_set(made, ttl=ttl)
    assert caught.value.code == "ttl-invalid"


def test_file_set_is_added_to_an_open_commit(pfs: Pfs) -> None:
    put(pfs, a=b"old", kept=b"k")
    with pfs.create_file_set() as staged:
        staged.put_bytes("/a", b"new")
        staged.put_bytes("/kept", b"+", append=True)
        staged.put_bytes("/b", b"2")
    pfs.start_commit("data@master")
    pfs.add_file_set("data@master", staged.id)
    pfs.finish_commit("data@master")
    assert files_of(pfs, "data@master") == {"/a": b"new", "/b": b"2", "/kept": b"k+"}
    with pytest.raises(StateError):
        pfs.add_file_set(f"data@{pfs.inspect_commit('data@master').id}", staged.id)


def test_content_of_a_commit_is_kept_as_a_whole_or_as_what_it_changed(pfs: Pfs) -> None:
    put(pfs, a=b"1", b=b"2", c=b"3")
    with pfs.modify_file("data@master") as staged:
        staged.put_bytes("/b", b"22")
        staged.delete("/c")
    whole, changed = pfs.get_file_set("data@master"), pfs.get_file_set("data@master", diff=True)
    assert files_of(pfs, f"__filesets__@{whole}") == {"/a": b"1", "/b": b"22"}
    assert files_of(pfs, f"__filesets__@{changed}") == {"/b": b"22"}
    pfs.create_repo("other")
    with pfs.modify_file("other@master") as staged:
        staged.put_bytes("/c", b"c")
        staged.put_bytes("/d", b"d")
    pfs.add_file_set("other@master", changed)
    assert files_of(pfs, "other@master") == {"/b": b"22", "/d": b"d"}
    pfs.add_file_set("other@master", whole)
    assert files_of(pfs, "other@master") == {"/a": b"1", "/b": b"22", "/d": b"d"}


def test_file_sets_are_put_one_above_the_other(pfs: Pfs) -> None:
    put(pfs, a=b"1", b=b"2")
    whole = pfs.get_file_set("data@master")
    composed = pfs.compose_file_set(file_set(pfs, a=b"x", z=b"z"), whole, file_set(pfs, b=b"y"))
    assert files_of(pfs, f"__filesets__@{composed}") == {"/a": b"1", "/b": b"y", "/z": b"z"}
    assert files_of(pfs, f"__filesets__@{pfs.compose_file_set(whole)}") == {"/a": b"1", "/b": b"2"}


def test_shards_hold_every_file_once(pfs: Pfs) -> None:
    with pfs.create_file_set() as staged:
        for number in range(2500):
            staged.put_bytes(f"/{number:04}", b"x" * (number % 3))
    by_files = pfs.shard_file_set(staged.id, files=1000)
    assert by_files == [PathRange(None, "/1000"), PathRange("/1000", "/2000"), PathRange("/2000", None)]
    tables = [pfs.list_range(f"__filesets__@{staged.id}", paths) for paths in by_files]
    assert [len(table) for table in tables] == [1000, 1000, 500]
    assert [path for table in tables for path in table.column("path").to_pylist()] == [f"/{number:04}" for number in range(2500)]
    by_bytes = pfs.shard_file_set(staged.id, size_bytes=1000)
    # Sizes are 0, 1, 2, 0, 1, 2, ...: the files 0 to 1000 have 1,000 bytes, 1001 to 2000 have 1,001.
    assert by_bytes == [PathRange(None, "/1001"), PathRange("/1001", "/2001"), PathRange("/2001", None)]
    assert pfs.shard_file_set(file_set(pfs), files=1) == [PathRange(None, None)]
    with pytest.raises(InvalidError) as caught:
        pfs.shard_file_set(staged.id)
    assert caught.value.code == "shard-invalid"


def test_collection_keeps_a_file_set_until_it_has_expired(place: Workspace, clock: ManualClock) -> None:
    made = file_set(place.pfs, a=b"x" * 100_000)
    clock.advance(9 * MINUTE)
    # The clock of objects is the machine's, far behind this one once it has been moved on.
    assert place.collect_garbage(grace=dt.timedelta(0)).freed.objects == 0
    assert files_of(place.pfs, f"__filesets__@{made}") == {"/a": b"x" * 100_000}
    clock.advance(dt.timedelta(days=20_000))
    assert place.collect_garbage(grace=dt.timedelta(0)).freed.objects >= 1
    assert place.collect_garbage(grace=dt.timedelta(0), dry_run=True).inventory.garbage.objects == 0


def test_no_repo_takes_the_name_of_file_sets(pfs: Pfs) -> None:
    with pytest.raises(InvalidError) as caught:
        pfs.create_repo("__filesets__")
    assert caught.value.code == "name-invalid"
