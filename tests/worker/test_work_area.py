import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import ConflictError, ExecutionError, StorageError
from pachyderm_dagster.storage.collection import sweep_leftovers, take_inventory
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import ObjectInfo, ObjectStore, Ref
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.reachable import Reachable
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, InputFile, ResultState, WorkerRefused, WorkerSetup
from pachyderm_dagster.worker.work_area import NO_INDEX, AreaSetup, Claim, Death, WorkArea, remove_old_areas

JOB = "edges-v1-0a1b"
CONTENT = Content(b"h" * 32, 7, (Ref(b"o" * 32, 3, 7),))
SETUP = WorkerSetup(store_url="memory://", scratch="/s", cmd=("cp", "a"), environment={"A": "1"})


def task(index: int) -> DatumTask:
    return DatumTask(f"{index:064x}", index, (InputFile("data", "/a", True, (("/a/ü", CONTENT),)),), {"PACH_DATUM_ID": "x"}, datum_set=index // 3)


def result(index: int, reason: str = "") -> DatumResult:
    return DatumResult(id=f"{index:064x}", index=index, state=ResultState.SUCCESS, reason=reason, outputs=FileColumns.of([("/x", CONTENT)]), tries=1)


def sets(count: int, size: int) -> list[tuple[DatumTask, ...]]:
    return [tuple(map(task, range(start, min(start + size, count)))) for start in range(0, count, size)]


class Killed(Exception):
    """In the middle of everything."""


class DyingStore:
    """A store whose user is killed behind so many writes; what it asked for last is done or not."""

    def __init__(self, store: ObjectStore, writes: int, *, done: bool) -> None:
        self.store, self.left, self.done = store, writes, done

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        if self.left == 0 and not self.done:
            raise Killed
        created = self.store.put_new(key, data)
        if self.left == 0:
            raise Killed
        self.left -= 1
        return created

    def delete(self, *keys: str) -> None:
        for key in keys:
            if self.left == 0:
                raise Killed
            self.left -= 1
            self.store.delete(key)

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        return self.store.list(prefix, after=after)


def dying(store: ObjectStore, writes: int, *, done: bool = False) -> WorkArea:
    # It has the methods that an area calls.
    return WorkArea(cast("ObjectStore", DyingStore(store, writes, done=done)), JOB)


def test_worker_finds_what_the_driver_wrote(store: ObjectStore) -> None:
    driver, worker = WorkArea(store, JOB), WorkArea(store, JOB)
    assert worker.find_setup() is None
    driver.begin(SETUP)
    assert worker.find_setup() == AreaSetup(SETUP)
    assert (worker.sets_written(), worker.list_sets()) == (None, set())
    assert driver.write_sets(sets(7, 3)) == 3
    assert (worker.sets_written(), worker.list_sets()) == (3, {0, 1, 2})
    assert worker.read_set(1) == [task(3), task(4), task(5)]
    assert worker.read_set(2) == [task(6)]


def test_job_without_datums_has_no_set(store: ObjectStore) -> None:
    assert WorkArea(store, JOB).write_sets([]) == 0
    assert WorkArea(store, JOB).sets_written() == 0


def test_secret_files_are_not_stored(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    area.begin(WorkerSetup(store_url="memory://", scratch="/s", cmd=("x",), secret_files={"/secret": {"key": b"hunter2"}}))
    assert all(b"hunter2" not in store.get(found.key) for found in store.list(""))
    found = area.find_setup()
    assert found is not None and found.setup.secret_files == {}


def test_a_worker_refuses_the_layout_of_another_version(store: ObjectStore) -> None:
    # As msgpack: {"setup": nil, "layout": 2}
    store.put_new(f"work/{JOB}/setup", b"\x82\xa5setup\xc0\xa6layout\x02")
    with pytest.raises(ExecutionError, match="layout 2"):
        WorkArea(store, JOB).find_setup()


@pytest.mark.parametrize("job", ["", "a/b", "..", "A", "-a"])
def test_a_name_that_no_job_has_is_refused(job: str) -> None:
    with pytest.raises(ValueError, match="no name of a job"):
        WorkArea(open_store("memory://"), job)


def test_a_second_driver_ends_what_the_first_began(store: ObjectStore) -> None:
    with pytest.raises(Killed):
        dying(store, 2).write_sets(sets(10, 3))
    area = WorkArea(store, JOB)
    assert area.write_sets(sets(10, 4)) == 4
    assert [[one.index for one in area.read_set(number)] for number in range(4)] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert area.write_sets(sets(10, 1)) == 4


@given(st.integers(0, 12), st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 5)), max_size=4), st.integers(1, 5))
def test_each_task_is_in_one_set_however_many_drivers_were_killed(count: int, kills: list[tuple[int, bool, int]], last_size: int) -> None:
    store = open_store("memory://")
    for writes, done, size in kills:
        try:
            dying(store, writes, done=done).write_sets(sets(count, size))
        except Killed:
            pass
    area = WorkArea(store, JOB)
    written = area.write_sets(sets(count, last_size))
    assert area.list_sets() == set(range(written))
    assert sorted(one.index for number in range(written) for one in area.read_set(number)) == list(range(count))


def test_two_drivers_at_the_same_time_are_found_out(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)

    def slowly() -> Iterator[tuple[DatumTask, ...]]:
        yield (task(0),)
        store.put_new(f"work/{JOB}/sets/00000001", b"\x90")
        yield (task(1),)

    with pytest.raises(ConflictError, match="job-driven-twice"):
        area.write_sets(slowly())


def test_a_set_is_claimed_once_and_found_again_by_its_index(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    assert area.claim(0, Claim(3, "pod-a"))
    assert area.claim(1, Claim(2, "pod-b"))
    assert not area.claim(0, Claim(2, "pod-b"))
    assert area.claim(0, Claim(3, "pod-c"))
    assert area.claimed() == {0, 1}
    assert (area.claims_of("3"), area.claims_of("2"), area.claims_of("0")) == ([0], [1], [])


def test_a_claim_that_was_cut_off_binds_nobody(store: ObjectStore) -> None:
    with pytest.raises(Killed):
        dying(store, 1).claim(0, Claim(3, "pod-a"))
    area = WorkArea(store, JOB)
    assert area.claims_of("3") == []
    assert area.claim(0, Claim(2, "pod-b"))
    assert area.claims_of("3") == []


@given(st.sets(st.integers(0, 60)), st.integers(0, 70))
def test_free_sets_are_those_that_nobody_claimed_from_a_number_on(claimed: set[int], first: int) -> None:
    area = WorkArea(open_store("memory://"), JOB)
    for number in range(61):
        area.store.put_new(f"work/{JOB}/sets/{number:08}", b"")
    for number in claimed:
        area.claim(number, Claim(0, "pod"))
    assert list(area.free_sets(first)) == sorted(set(range(first, 61)) - claimed)


def work_on(area: WorkArea, claim: Claim, most: int) -> None:
    """A worker takes what is free and gives so many results before it goes without a word."""
    for number in [*area.claims_of(claim.holder), *area.free_sets(0)]:
        if most <= 0 or not area.claim(number, claim):
            continue
        answered, part = area.results_of(number)
        left = [one.index for one in area.read_set(number) if one.index not in answered]
        results = [result(index) for index in left[:most]]
        most -= len(results)
        area.append_results(number, part, results, last=len(results) == len(left))


@given(
    st.integers(1, 10),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8), st.booleans()), max_size=4),
)
def test_whatever_pods_left_that_are_gone_is_done_however_often_a_driver_is_killed(count: int, size: int, lives: list[tuple[int, int, bool]]) -> None:
    store = open_store("memory://")
    area = WorkArea(store, JOB)
    area.write_sets(sets(count, size))
    for life, (most, writes, done) in enumerate(lives):
        work_on(area, Claim(NO_INDEX, f"pod-{life}"), most)
        # The driver is killed while it frees what is left; whoever comes next begins again with all that took something.
        try:
            for holder in sorted(area.holders()):
                dying(store, writes, done=done).free(holder)
        except Killed:
            pass
    for holder in sorted(area.holders()):
        area.free(holder)
    assert area.holders() == set()
    work_on(area, Claim(NO_INDEX, "lives"), 1000)
    answered = {one.index for part in area.parts(0) for one in area.read_part(part)}
    assert answered == set(range(count))


def test_pods_that_stay_hold_their_sets_by_themselves(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    area.write_sets(sets(2, 1))
    first, second = Claim(NO_INDEX, "pod-a"), Claim(NO_INDEX, "pod-b")
    assert area.claim(0, first) and area.claim(0, first)
    assert not area.claim(0, second)
    assert (area.claims_of("pod-a"), area.claims_of("pod-b")) == ([0], [])
    area.withdraw(0, first)
    assert area.claims_of("pod-a") == [] and area.holders() == {"pod-b"}
    assert area.claim(0, second)


def test_a_claim_whose_answer_was_lost_is_found_again(store: ObjectStore) -> None:
    with pytest.raises(Killed):
        dying(store, 1, done=True).claim(0, Claim(3, "pod-a"))
    assert WorkArea(store, JOB).claims_of("3") == [0]


def test_many_workers_claim_each_set_once(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    taken: list[list[int]] = [[] for _ in range(4)]

    def work(index: int) -> None:
        taken[index] = [number for number in range(12) if area.claim(number, Claim(index, f"pod-{index}"))]

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(number for numbers in taken for number in numbers) == list(range(12))
    assert [area.claims_of(str(index)) for index in range(4)] == taken


def test_a_new_worker_of_an_index_knows_what_has_a_result(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    for number in (0, 1):
        area.claim(number, Claim(3, "pod-a"))
    assert area.results_of(0) == (set(), 0)
    area.append_results(0, 0, [result(5), result(7)], last=False)
    area.append_results(0, 1, [result(6)], last=False)
    assert area.results_of(0) == ({5, 6, 7}, 2)
    assert area.claims_of("3") == [0, 1]
    area.append_results(0, 2, [], last=True)
    assert area.claims_of("3") == [1]


def test_a_part_takes_the_place_of_no_other(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    area.append_results(0, 0, [result(1)], last=False)
    assert area.append_results(0, 0, [result(2)], last=False) == 2
    assert area.results_of(0) == ({1, 2}, 2)


def test_deaths_and_refusals_are_told(store: ObjectStore) -> None:
    area = WorkArea(store, JOB)
    first, second = Death(0, "uid-1", 17, "ab", "the container ended"), Death(0, "uid-1", 18, "ac", "the worker was killed")
    area.note_death(first)
    area.note_death(second, restart=1)
    refused = WorkerRefused.of(StorageError("storage-full", "no room"))
    area.note_refusal("uid-2", refused)
    assert sorted(area.deaths(), key=lambda death: death.datum) == [first, second]
    assert list(area.refusals()) == [("uid-2", refused)]


def test_removed_area_leaves_nothing_and_takes_nothing_of_others(store: ObjectStore) -> None:
    area, other = WorkArea(store, JOB), WorkArea(store, f"{JOB}-2")
    for one in (area, other):
        one.begin(SETUP)
        one.write_sets(sets(4, 2))
    area.claim(0, Claim(0, "pod"))
    area.append_results(0, 0, [result(0)], last=True)
    area.remove()
    assert {found.key.split("/")[1] for found in store.list("work")} == {f"{JOB}-2"}
    assert other.sets_written() == 2
    area.remove()


@pytest.mark.parametrize("writes", range(8))
def test_a_removal_that_was_cut_off_is_ended_before_the_job_begins_again(writes: int) -> None:
    store = open_store("memory://")
    area = WorkArea(store, JOB)
    area.begin(SETUP)
    area.write_sets(sets(4, 2))
    area.claim(0, Claim(0, "pod"))
    with pytest.raises(Killed):
        dying(store, writes).remove()
    area.begin(SETUP)
    # Either the removal had not begun, or nothing of the old area is left.
    expected = 2 if writes == 0 else None
    assert area.sets_written() == expected
    assert area.write_sets(sets(4, 4)) == (expected or 1)
    assert area.claimed() == (set() if expected is None else {0})


def test_old_areas_of_jobs_that_are_gone_are_removed(store: ObjectStore) -> None:
    for job in ("gone", "there", "old"):
        WorkArea(store, job).begin(SETUP)
    now = dt.datetime.now(dt.UTC)
    assert remove_old_areas(store, now - dt.timedelta(hours=1), lambda job: True) == []
    assert remove_old_areas(store, now + dt.timedelta(hours=1), lambda job: job != "there") == ["gone", "old"]
    assert {found.key.split("/")[1] for found in store.list("work")} == {"there"}


def test_the_collection_leaves_areas_alone(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    WorkArea(store, JOB).begin(SETUP)
    store.put_new("objects/00/" + "00" * 32, b"nobody reaches this")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    inventory, candidates = take_inventory(store, Reachable(store), later)
    assert (inventory.kept.objects, len(candidates)) == (0, 1)
    sweep_leftovers(store, later)
    assert WorkArea(store, JOB).find_setup() == AreaSetup(SETUP)
