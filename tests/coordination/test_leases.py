"""Leases end by themselves, and only their owner renews them."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.leases import DatabaseLeases, HeldLease, Leases
from pachyderm_dagster.metadata.database import Database, open_engine

TTL = dt.timedelta(seconds=10)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def leases(tmp_path: Path, clock: ManualClock) -> Iterator[Leases]:
    database = Database(open_engine(f"sqlite:///{tmp_path}/metadata.db"), clock)
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
