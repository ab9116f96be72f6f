"""The log of code that stays in pods, in the store."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.storage.objects import ObjectInfo, ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.kept_log import KeptLog
from pachyderm_dagster.worker.stored_log import MOST_EARLIER_PARTS, StoredLines, StoredLog, log_area
from pachyderm_dagster.worker.work_area import WORK

AREA = log_area("pipeline-default-web")


@pytest.fixture
def store() -> ObjectStore:
    return open_store("memory://")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Writer:
    """The log of one pod."""

    def __init__(self, store: ObjectStore, clock: ManualClock, pod: str = "pod-0", **sizes: int) -> None:
        clock.advance(dt.timedelta(seconds=1))
        self.log = StoredLog(store, AREA, pod, clock=clock, **sizes)
        self._lines = KeptLog(self.log.add, "job-1", clock=clock)

    def print(self, *texts: str) -> None:
        self._lines.write("".join(f"{text}\n" for text in texts).encode())
        self.log.store()


def parts(store: ObjectStore) -> list[ObjectInfo]:
    return list(store.list(f"{WORK}/{AREA}"))


def texts(lines: StoredLines) -> list[str]:
    return [line.text for line in lines.more()]


def test_lines_are_read_once_and_in_their_order_while_more_come(store: ObjectStore, clock: ManualClock) -> None:
    writer, reader = Writer(store, clock), StoredLines(store, AREA)
    seen = []
    for number in range(50):
        writer.print(f"line {number}")
        seen += texts(reader)
    assert seen == [f"line {number}" for number in range(50)]
    assert texts(StoredLines(store, AREA)) == seen
    assert len(parts(store)) <= 8


def test_line_has_its_time_and_its_job(store: ObjectStore, clock: ManualClock) -> None:
    Writer(store, clock).print("hello")
    (line,) = StoredLines(store, AREA).more()
    assert (line.text, line.job, line.time) == ("hello", "job-1", clock.now().timestamp())


@given(st.lists(st.lists(st.integers(1, 300), max_size=4), max_size=30), st.integers(200, 2000))
def test_whatever_the_parts_no_line_is_lost_or_told_twice(stores: list[list[int]], part_bytes: int) -> None:
    store, clock = open_store("memory://"), ManualClock()
    writer, reader = Writer(store, clock, part_bytes=part_bytes), StoredLines(store, AREA)
    wanted, seen = [], []
    for number, lengths in enumerate(stores):
        lines = [f"{number}-{place}-" + "x" * length for place, length in enumerate(lengths)]
        writer.print(*lines)
        wanted += lines
        if number % 3 == 0:
            seen += texts(reader)
    assert seen + texts(reader) == wanted == texts(StoredLines(store, AREA))


def test_next_pod_goes_on_behind_the_one_before(store: ObjectStore, clock: ManualClock) -> None:
    Writer(store, clock, "pod-b").print("first")
    Writer(store, clock, "pod-a").print("second")
    assert texts(StoredLines(store, AREA)) == ["first", "second"]


def test_oldest_text_goes_when_there_is_too_much(store: ObjectStore, clock: ManualClock) -> None:
    writer = Writer(store, clock, most_bytes=3000, part_bytes=500)
    for number in range(200):
        writer.print(f"line {number}")
    kept = texts(StoredLines(store, AREA))
    assert kept == [f"line {number}" for number in range(200 - len(kept), 200)] and len(kept) > 20
    assert sum(part.size for part in parts(store)) < 4000


def test_code_that_ends_again_and_again_leaves_a_bounded_number_of_parts(store: ObjectStore, clock: ManualClock) -> None:
    for number in range(MOST_EARLIER_PARTS + 20):
        with Writer(store, clock, f"pod-{number}").log as log:
            log.add(b'{"time": 1.0, "text": "ended"}\n')
    assert len(parts(store)) == MOST_EARLIER_PARTS + 1


def test_what_the_store_does_not_take_is_there_when_it_does_again(store: ObjectStore, clock: ManualClock) -> None:
    away = Away(store)
    writer = Writer(cast(ObjectStore, away), clock)
    writer.print("before")
    away.is_away = True
    with pytest.raises(UnreachableError):
        writer.print("meanwhile")
    away.is_away = False
    writer.print("after")
    assert texts(StoredLines(store, AREA)) == ["before", "meanwhile", "after"]


def test_reader_finds_what_took_the_place_of_a_part_that_it_saw(store: ObjectStore, clock: ManualClock) -> None:
    writer = Writer(store, clock)
    writer.print("one")
    merging = Merging(store, lambda: writer.print("two", "and three"))
    assert texts(StoredLines(cast(ObjectStore, merging), AREA)) == ["one", "two", "and three"]


class Away:
    """A store that may not answer for a while."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self.is_away = store, False

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            raise UnreachableError("storage-unreachable", "as the test wants it")
        return getattr(self._store, name)


class Merging:
    """A store in which something is written behind the first listing, before what was listed is read."""

    def __init__(self, store: ObjectStore, write: Callable[[], None]) -> None:
        self._store, self._write = store, [write]

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        found = list(self._store.list(prefix, after=after))
        if self._write:
            self._write.pop()()
        return iter(found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
