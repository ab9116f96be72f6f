"""Datum sets that workers of pods claim in a real etcd: who has which, and what becomes of those of a worker that dies."""

import datetime as dt
import threading
from collections.abc import Iterator

import pytest

from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.open_etcd import open_claims
from pachyderm_dagster.executors.kubernetes.offering import Offers, claims_url
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.results_reader import ResultsReader
from pachyderm_dagster.worker.set_claims import LeasedClaims
from pachyderm_dagster.worker.set_orders import SetOrders
from pachyderm_dagster.worker.work_area import Claim, WorkArea
from tests.etcds import needs_etcd, new_address

JOB = "edges-v1-0a1b"
SHORT = dt.timedelta(seconds=2)


class Place:
    """A work area whose sets are claimed in etcd."""

    def __init__(self) -> None:
        self.area = WorkArea(open_store("memory://"), JOB)
        self.address = new_address()
        self.offers = Offers(self.area, self.address)

    def write(self, count: int, size: int) -> None:
        tasks = [DatumTask(f"{index:064x}", index, ()) for index in range(count)]
        self.area.write_sets([tasks[start : start + size] for start in range(0, count, size)], self.offers.add)

    def claims(self, index: int) -> LeasedClaims:
        return LeasedClaims(self.area, open_claims(self.address, JOB), Claim(index, f"pod-{index}"), ttl=SHORT)

    def orders(self, index: int) -> SetOrders:
        return SetOrders(self.area, lambda: self.claims(index), wait=threading.Event().wait)

    def indices(self) -> list[int]:
        return sorted(result.index for result in ResultsReader(self.area).new())


@pytest.fixture
def place() -> Iterator[Place]:
    found = Place()
    yield found
    found.offers.remove()


def result(index: int) -> DatumResult:
    return DatumResult(id=f"{index:064x}", index=index, state=ResultState.SUCCESS)


def work(orders: SetOrders) -> list[int]:
    """Answers all datums there are; those that it answered."""
    telling = threading.Thread(target=orders.tell)
    telling.start()
    done = []
    while (task := orders.next_task()) is not None:
        orders.answer([result(task.index)])
        done.append(task.index)
    orders.close()
    telling.join()
    return done


@needs_etcd
def test_workers_do_all_sets_and_each_once(place: Place) -> None:
    place.write(40, 3)
    done: list[int] = []
    workers = [threading.Thread(target=lambda index=index: done.extend(work(place.orders(index)))) for index in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == list(range(40))
    assert place.indices() == list(range(40))


@needs_etcd
def test_a_set_of_a_worker_that_died_is_ended_by_one_that_lives(place: Place) -> None:
    place.write(4, 4)
    dead = place.claims(0)
    assert dead.take() == 0
    place.area.append_results(0, 0, [result(2)], last=False)
    # Nobody renews its lease any more, and it gives nothing back.
    dead._worker._stop_renewing()
    assert work(place.orders(1)) == [0, 1, 3]
    assert place.indices() == [0, 1, 2, 3]


@needs_etcd
def test_a_set_that_a_worker_gives_back_is_had_at_once(place: Place) -> None:
    place.write(1, 1)
    told_to_end, other = place.claims(0), place.claims(1)
    assert (told_to_end.take(), other.take()) == (0, None)
    assert other.may_come()
    told_to_end.close()
    assert other.take() == 0
    other.finish(0)
    assert not other.may_come()
    other.close()


@needs_etcd
def test_a_worker_whose_lease_ended_does_not_take_the_set_that_it_is_at_for_another(place: Place) -> None:
    place.write(2, 1)
    slow = place.claims(0)
    first = slow.take()
    slow._worker._etcd.revoke(slow._worker._lease)
    assert {first, slow.take()} == {0, 1}
    assert slow.take() is None
    for number in (0, 1):
        slow.finish(number)
    assert not slow.may_come()
    slow.close()


@needs_etcd
def test_sets_that_etcd_forgot_are_offered_again(place: Place) -> None:
    place.write(3, 1)
    place.offers.remove()
    worker = place.claims(0)
    assert worker.take() is None
    assert worker.may_come()
    place.offers._next_look = 0
    place.offers.look()
    assert {worker.take() for _ in range(3)} == {0, 1, 2}
    worker.close()


def test_workers_are_told_the_etcd_as_pods_reach_it_and_where_in_it_the_driver_is() -> None:
    address = EtcdAddress(("127.0.0.1:2379",), "homes/a b")
    assert claims_url("etcd://etcd.lab:2379/other?tls=true", address) == "etcd://etcd.lab:2379/homes/a%20b?tls=true"
    assert claims_url("", address) == ""
    assert claims_url("etcd://etcd.lab:2379", None) == ""
