"""The driver's look at results: what it reads, and how much it lists for that."""

from collections.abc import Iterator
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.objects import ObjectInfo, ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.worker.results_reader import Bits, Numbers, ResultsReader
from pachyderm_dagster.worker.work_area import WorkArea

JOB = "edges-v1-0a1b"


class CountingStore:
    """A store in memory that counts the keys that its lists gave."""

    def __init__(self) -> None:
        self.store = open_store("memory://")
        self.listed = 0

    def put_new(self, key: str, data: bytes) -> bool:
        return self.store.put_new(key, data)

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        for found in self.store.list(prefix, after=after):
            self.listed += 1
            yield found


def result(index: int) -> DatumResult:
    return DatumResult(id=f"{index:064x}", index=index, state=ResultState.SUCCESS)


def test_results_are_read_once_each_as_they_appear(store: ObjectStore) -> None:
    area, reader = WorkArea(store, JOB), ResultsReader(WorkArea(store, JOB))
    assert list(reader.new()) == []
    assert area.append_results(0, 0, [result(0), result(1)], last=False) == 1
    assert list(reader.new()) == [result(0), result(1)]
    area.append_results(0, 1, [result(2)], last=True)
    # A worker that was thought dead stored another result of a datum.
    area.append_results(1, 0, [result(2), result(900)], last=False)
    assert list(reader.new()) == [result(2), result(900)]
    assert list(reader.new()) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans()), max_size=40), st.sets(st.integers(0, 40)))
def test_each_datum_is_given_once_whenever_one_looks(appended: list[tuple[int, int, bool]], looks: set[int]) -> None:
    area = WorkArea(open_store("memory://"), JOB)
    reader = ResultsReader(area)
    parts: dict[int, int] = {}
    ended: set[int] = set()
    found: list[int] = []
    written = 0
    for moment, (number, count, last) in enumerate(appended):
        if moment in looks:
            found += [one.index for one in reader.new()]
        if number not in ended:
            results = [result(index) for index in range(written, written + count)]
            written += count
            parts[number] = area.append_results(number, parts.get(number, 0), results, last=last)
            ended |= {number} if last else set()
    found += [one.index for one in reader.new()]
    assert sorted(found) == list(range(written))


def test_a_part_that_the_list_showed_late_is_read_with_the_next(store: ObjectStore) -> None:
    area, reader = WorkArea(store, JOB), ResultsReader(WorkArea(store, JOB))
    area.append_results(0, 1, [result(1)], last=True)
    assert list(reader.new()) == [result(1)]
    area.append_results(0, 0, [result(0)], last=False)
    assert list(reader.new()) == [result(0)]


def test_what_is_listed_does_not_grow_with_the_sets_that_are_finished() -> None:
    store = CountingStore()
    area = WorkArea(cast("ObjectStore", store), JOB)
    reader = ResultsReader(area)
    # Four workers begin at places of their own, as in the order of their claims, and one set takes long.
    places = [0, 1000, 2000, 3000]
    area.append_results(2000, 0, [result(2000 * 4)], last=False)
    listed = []
    for step in range(1, 400):
        for place in places:
            area.append_results(place + step, 0, [result((place + step) * 4)], last=True)
        store.listed = 0
        assert len(list(reader.new())) == (5 if step == 1 else 4)
        listed.append(store.listed)
    # All of what came, the begun set once, and the first key of each of four runs that are skipped.
    assert max(listed[200:]) <= 4 + 1 + 2 * 4
    assert max(listed) <= 4 * 100 + 20


@given(st.lists(st.integers(0, 30)), st.integers(1, 4))
def test_numbers_know_what_they_have_and_what_is_around_long_runs(added: list[int], shortest: int) -> None:
    numbers, model = Numbers(), set[int]()
    for number in added:
        numbers.add(number)
        model.add(number)
    assert [number for number in range(40) if number in numbers] == sorted(model)
    stretches = list(numbers.others(shortest))
    within = {number for first, end in stretches for number in range(first, 40 if end is None else end)}
    skipped = set(range(40)) - within
    assert skipped <= model
    runs = [number for number in model if all(set(range(start, start + shortest)) - model for start in range(number - shortest + 1, number + 1))]
    assert skipped == model - set(runs)
    assert stretches[-1][1] is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100))))
def test_bits_are_a_set(steps: list[tuple[bool, int]]) -> None:
    bits, model = Bits(), set[int]()
    for adds, number in steps:
        assert (bits.add(number) if adds else bits.remove(number)) == ((number in model) != adds)
        if adds:
            model.add(number)
        else:
            model.discard(number)
        assert len(bits) == len(model)
        assert [one for one in range(110) if one in bits] == sorted(model)
