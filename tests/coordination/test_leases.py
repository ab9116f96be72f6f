"""Leases end by themselves, and only their owner renews them."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.leases import DatabaseLeases, HeldLease, Leases
from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.metadata.database import Database, open_engine

TTL = dt.timedelta(seconds=10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def leases(metadata_url: str, clock: ManualClock) -> Iterator[Leases]:
    database = Database(open_engine(metadata_url), clock)
    yield DatabaseLeases(database)
    database.close()


def test_second_owner_is_refused_while_the_lease_lives(leases: Leases) -> None:
    assert leases.acquire("job/1", "a", TTL)
    assert not leases.acquire("job/1", "b", TTL)
    assert leases.acquire("job/1", "a", TTL)


def test_lease_of_a_dead_owner_is_taken_over(leases: Leases, clock: ManualClock) -> None:
    leases.acquire("job/1", "a", TTL)
    clock.advance(TTL)
    assert not leases.is_held("job/1")
    assert leases.acquire("job/1", "b", TTL)
    assert not leases.acquire("job/1", "a", TTL)


def test_release_by_a_former_owner_changes_nothing(leases: Leases, clock: ManualClock) -> None:
    leases.acquire("job/1", "a", TTL)
    clock.advance(TTL)
    leases.acquire("job/1", "b", TTL)
    leases.release("job/1", "a")
    assert leases.is_held("job/1")
    leases.release("job/1", "b")
    assert not leases.is_held("job/1")


def test_held_lease_is_released_after_its_block(leases: Leases) -> None:
    assert leases.acquire("job/1", "a", TTL)
    with HeldLease(leases, "job/1", "a"):
        assert not leases.acquire("job/1", "b", TTL)
    assert leases.acquire("job/1", "b", TTL)


class Outage(DatabaseLeases):
    """Leases whose service stops answering when told."""

    down = False
    refused = False

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> bool:
        self.asked.set()
        if self.down:
            raise UnreachableError("record-unreachable", "down")
        return not self.refused

    def release(self, name: str, owner: str) -> None:
        if self.down:
            raise UnreachableError("record-unreachable", "down")

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked = threading.Event()


@pytest.fixture
def outage(metadata_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    monkeypatch.setattr("pachyderm_dagster.coordination.leases.LEASE_TIME", dt.timedelta(milliseconds=60))
    database = Database(open_engine(metadata_url), ManualClock())
    yield Outage(database)
    database.close()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end


def test_holder_learns_that_its_lease_was_taken_over(outage: Outage) -> None:
    outage.refused = True
    with HeldLease(outage, "job/1", "a") as held:
        assert not held.is_lost()
        wait_until(held.is_lost)


def test_holder_learns_that_an_outage_outlived_its_lease_and_leaves_quietly(outage: Outage) -> None:
    outage.down = True
    with HeldLease(outage, "job/1", "a") as held:
        wait_until(held.is_lost)
    assert outage.asked.is_set()


def test_holder_keeps_a_lease_that_is_renewed(outage: Outage) -> None:
    with HeldLease(outage, "job/1", "a") as held:
        for _ in range(5):
            outage.asked.clear()
            assert outage.asked.wait(30)
        assert not held.is_lost()
