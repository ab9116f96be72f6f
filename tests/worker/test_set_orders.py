import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.results_reader import ResultsReader
from pachyderm_dagster.worker.set_claims import StoreClaims
from pachyderm_dagster.worker.set_orders import SetOrders
from pachyderm_dagster.worker.work_area import Claim, Death, WorkArea

JOB = "edges-v1-0a1b"


class Killed(BaseException):
    """In the middle of everything."""


class Time:
    """A clock that moves when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.waits = 0
        self.then: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.waits += 1
        self.then()


def offered(count: int, size: int) -> WorkArea:
    area = WorkArea(open_store("memory://"), JOB)
    area.write_sets([[DatumTask(f"{index:064x}", index, ()) for index in range(start, min(start + size, count))] for start in range(0, count, size)])
    return area


def result(index: int, seconds: float = 0.0) -> DatumResult:
    return DatumResult(id=f"{index:064x}", index=index, state=ResultState.SUCCESS, process_seconds=seconds)


def work(orders: SetOrders, *, most: int | None = None, seconds: float = 0.0) -> list[int]:
    """Takes and answers datums, all or so many; those that it answered."""
    telling = threading.Thread(target=orders.tell)
    telling.start()
    done: list[int] = []
    while len(done) != most and (task := orders.next_task()) is not None:
        orders.answer([result(task.index, seconds)])
        done.append(task.index)
    orders.close()
    telling.join()
    return done


def orders_of(area: WorkArea, claim: Claim, **more: Any) -> SetOrders:
    """Those of a worker that claims in the store."""
    return SetOrders(area, lambda: StoreClaims(area, claim), **more)


def indices(area: WorkArea) -> list[int]:
    return [found.index for found in ResultsReader(area).new()]


def parts(store: ObjectStore) -> list[str]:
    return sorted(found.key.removeprefix(f"work/{JOB}/results/") for found in store.list(f"work/{JOB}/results"))


def test_one_worker_does_all_sets() -> None:
    area = offered(7, 3)
    assert sorted(work(orders_of(area, Claim(0, "a")))) == list(range(7))
    assert sorted(indices(area)) == list(range(7))
    assert area.claims_of("0") == []


def test_a_job_without_sets_has_no_datum() -> None:
    assert work(orders_of(offered(0, 3), Claim(0, "a"))) == []


def test_a_worker_waits_for_sets_that_are_not_written_yet() -> None:
    area, time = WorkArea(open_store("memory://"), JOB), Time()
    time.then = lambda: area.write_sets([[DatumTask("00" * 32, 0, ())]]) if time.waits == 3 else None
    assert work(orders_of(area, Claim(0, "a"), wait=time.wait, now=time.now)) == [0]
    assert time.waits == 3


@given(st.integers(0, 30), st.integers(1, 7), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=8))
def test_every_datum_is_answered_once_whoever_is_replaced(count: int, size: int, lives: list[tuple[int, int]]) -> None:
    area = offered(count, size)
    answered: list[int] = []
    for pod, (index, most) in enumerate(lives):
        # It ends behind so many datums, with what it answered stored; the next pod of its index goes on.
        answered += work(orders_of(area, Claim(index, f"pod-{pod}")), most=most)
    for index in range(3):
        answered += work(orders_of(area, Claim(index, f"last-{index}")))
    assert sorted(answered) == list(range(count))
    assert sorted(indices(area)) == list(range(count))


def test_datums_under_which_a_pod_died_come_last_and_those_of_two_deaths_not_at_all() -> None:
    area = offered(4, 4)
    for pod, datum in enumerate((0, 1, 1)):
        area.note_death(Death(0, f"dead-{pod}", datum, "00", "it ended"))
    assert work(orders_of(area, Claim(0, "a"))) == [2, 3, 0]
    assert area.claims_of("0") == []


def test_a_death_is_read_once_however_many_sets_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    area = offered(6, 1)
    for pod in range(3):
        area.note_death(Death(0, f"dead-{pod}", pod, "00", "it ended"))
    read: list[str] = []
    read_death = WorkArea.read_death

    def noting(self: WorkArea, name: str) -> Death:
        read.append(name)
        return read_death(self, name)

    monkeypatch.setattr(WorkArea, "read_death", noting)
    assert sorted(work(orders_of(area, Claim(0, "a")))) == list(range(6))
    assert read == ["dead-0", "dead-1", "dead-2"]


def test_a_set_of_which_nothing_may_run_is_finished_all_the_same() -> None:
    area = offered(1, 1)
    for pod in ("a", "b"):
        area.note_death(Death(0, pod, 0, "00", "it ended"))
    assert work(orders_of(area, Claim(0, "c"))) == []
    assert parts(area.store) == ["00000000/000000-last"]


def test_results_are_told_when_they_are_due_and_the_last_at_once() -> None:
    area, time = offered(4, 4), Time()
    orders = orders_of(area, Claim(0, "a"), wait=time.wait, now=time.now)
    telling = threading.Thread(target=orders.tell)
    telling.start()
    for index in range(4):
        assert orders.next_task() is not None
        if index == 2:
            time.seconds += 5
        orders.answer([result(index)])
        if index == 2:
            # Others wake it here, as the passing of a second would.
            while not parts(area.store):
                orders.answer([])
    assert orders.next_task() is None
    orders.close()
    telling.join()
    assert parts(area.store) == ["00000000/000000", "00000000/000001-last"]
    assert indices(area) == [0, 1, 2, 3]


def test_a_set_of_long_datums_has_few_parts() -> None:
    area, time = offered(500, 500), Time()
    orders = orders_of(area, Claim(0, "a"), wait=time.wait, now=time.now)
    written = 0
    while (task := orders.next_task()) is not None:
        time.seconds += 10
        orders.answer([result(task.index, 10)])
        one = orders._sets[0]
        if one.due <= time.now() or not one.waiting:
            orders._write(one)
            written += 1
    assert len(parts(area.store)) == written
    assert 20 < written < 70
    assert sorted(indices(area)) == list(range(500))


def test_another_set_is_taken_before_the_last_datum_of_one_has_ended_only_when_datums_are_short() -> None:
    for seconds, ahead in ((0.01, True), (10.0, False)):
        area = offered(4, 2)
        orders = orders_of(area, Claim(0, "a"))
        first = orders.next_task()
        second = orders.next_task()
        assert first is not None and second is not None
        orders.answer([result(first.index, seconds)])
        taken: list[DatumTask | None] = []
        taking = threading.Thread(target=lambda orders=orders, taken=taken: taken.append(orders.next_task()))
        taking.start()
        if ahead:
            taking.join()
        else:
            assert area.claimed() == {0}
            orders.answer([result(second.index, seconds)])
            taking.join()
        assert area.claimed() == {0, 1}


def test_another_set_is_taken_while_what_one_made_is_stored_and_no_third() -> None:
    area = offered(3, 1)
    orders = orders_of(area, Claim(0, "a"))
    taken: list[DatumTask | None] = [orders.next_task()]

    def begin_to_take() -> threading.Thread:
        taking = threading.Thread(target=lambda: taken.append(orders.next_task()))
        taking.start()
        return taking

    taking = begin_to_take()
    assert area.claimed() == {0}
    orders.ran(0)
    taking.join()
    assert area.claimed() == {0, 1}
    orders.ran(1)
    taking = begin_to_take()
    assert area.claimed() == {0, 1}
    orders.answer([result(0, seconds=10.0)])
    taking.join()
    assert area.claimed() == {0, 1, 2}
    assert [task.index for task in taken if task is not None] == [0, 1, 2]
