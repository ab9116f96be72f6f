"""Datum sets: where one ends and the next begins, and who gets them."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.executors.datum_sets import choose_sets, gather, in_sets
from pachyderm_dagster.pps.spec import DatumSetSpec
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.worker.protocol import DatumTask, InputFile


def task(index: int, size: int = 1) -> DatumTask:
    return DatumTask(f"{index:064x}", index, (InputFile("data", "/f", False, (("/f", Content(b"", size, ())),)),))


def sizes(sets: DatumSetSpec, *bytes: int) -> list[int]:
    return [len(found) for found in gather(in_sets([task(index, size) for index, size in enumerate(bytes)], sets))]


def test_a_set_is_full_at_its_number() -> None:
    assert sizes(DatumSetSpec(number=2), 1, 1, 1, 1, 1) == [2, 2, 1]


def test_a_set_is_full_with_the_datum_that_reaches_its_bytes() -> None:
    assert sizes(DatumSetSpec(size_bytes=10), 4, 4, 4, 10, 1, 100) == [3, 1, 2]


def test_what_is_reached_first_counts() -> None:
    assert sizes(DatumSetSpec(number=2, size_bytes=10), 1, 1, 20, 1) == [2, 1, 1]


def test_workers_get_four_sets_each_unless_told() -> None:
    assert choose_sets(None, 80, 2) == DatumSetSpec(number=10)
    assert choose_sets(DatumSetSpec(per_worker=2), 80, 2) == DatumSetSpec(number=20)
    assert choose_sets(None, 3, 2) == DatumSetSpec(number=1)
    assert choose_sets(None, 10**6, 1) == DatumSetSpec(number=1000)
    assert choose_sets(DatumSetSpec(number=5000), 10**6, 1).number == 5000


@given(st.lists(st.integers(0, 20)), st.integers(0, 4), st.integers(0, 20))
def test_sets_are_the_tasks_in_their_order(bytes: list[int], number: int, size_bytes: int) -> None:
    tasks = [task(index, size) for index, size in enumerate(bytes)]
    found = list(gather(in_sets(tasks, DatumSetSpec(number=number, size_bytes=size_bytes))))
    assert [one.index for one_set in found for one in one_set] == list(range(len(bytes)))
    assert all({one.datum_set for one in one_set} == {place} for place, one_set in enumerate(found))


def test_tasks_without_a_set_are_alone_and_there_at_once() -> None:
    def endless() -> "list[DatumTask]":
        raise AssertionError("asked for more than was needed")

    def tasks() -> "object":
        yield task(0)
        endless()

    assert len(next(gather(tasks()))) == 1  # type: ignore[arg-type]
