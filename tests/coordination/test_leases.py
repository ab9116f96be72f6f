"""Leases end by themselves, and only their owner renews them."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.database_leases import DatabaseLeases
from pachyderm_dagster.coordination.drivers import SENSOR_OWNER, find_other_executors, tell_tick
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_leases import EtcdLeases
from pachyderm_dagster.coordination.leases import HeldLease, Leases
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.metadata.database import Database, open_engine
from tests.etcds import SERVER, new_address

TTL = dt.timedelta(seconds=10)
Expire = Callable[[str], None]
KINDS = ["database", *(["etcd"] if SERVER else [])]


@dataclass(frozen=True)
class Service:
    """Leases of one kind, and what ends one as if nobody had renewed it for as long as it lives."""

    leases: Leases
    expire: Expire


@pytest.fixture(params=KINDS)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    if request.param == "etcd":
        etcd = Etcd(new_address())

        def expire(name: str) -> None:
            found = etcd.find(f"{etcd.address.prefix}/lease/{name}")
            assert found is not None
            etcd.revoke(found.lease)

        yield Service(EtcdLeases(etcd), expire)
        return
    clock = ManualClock()
    database = Database(open_engine(request.getfixturevalue("metadata_url")), clock)
    yield Service(DatabaseLeases(database), lambda name: clock.advance(TTL))
    database.close()


@pytest.fixture
def leases(service: Service) -> Leases:
    return service.leases


@pytest.fixture
def expire(service: Service) -> Expire:
    return service.expire


def test_second_owner_is_refused_while_the_lease_lives(leases: Leases) -> None:
    assert leases.acquire("job/1", "a", TTL)
    assert not leases.acquire("job/1", "b", TTL)
    assert leases.acquire("job/1", "a", TTL)


def test_lease_of_a_dead_owner_is_taken_over(leases: Leases, expire: Expire) -> None:
    leases.acquire("job/1", "a", TTL)
    expire("job/1")
    assert not leases.is_held("job/1")
    assert leases.acquire("job/1", "b", TTL)
    assert not leases.acquire("job/1", "a", TTL)


def test_release_by_a_former_owner_changes_nothing(leases: Leases, expire: Expire) -> None:
    leases.acquire("job/1", "a", TTL)
    expire("job/1")
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


def test_owners_of_many_leases_are_told_at_once(leases: Leases, expire: Expire) -> None:
    for number in range(250):
        leases.acquire(f"job/{number}", f"owner {number}", 10 * TTL)
    leases.release("job/7", "owner 7")
    expected = {f"job/{number}": f"owner {number}" for number in range(250) if number != 7}
    assert leases.find_owners([f"job/{number}" for number in range(300)]) == expected
    assert leases.find_owners([]) == {}
    assert leases.find_owner("job/1") == "owner 1"
    assert leases.find_owner("job") is None


def test_any_process_that_knows_the_owner_renews_and_releases_for_it(leases: Leases, expire: Expire) -> None:
    assert leases.acquire("sensor/default", "sensor", TTL)
    assert leases.acquire("sensor/default", "sensor", 3 * TTL)
    assert leases.find_owner("sensor/default") == "sensor"
    assert not leases.acquire("sensor/default", "another", TTL)
    leases.release("sensor/default", "sensor")
    assert not leases.is_held("sensor/default")


def test_daemon_with_pods_that_is_gone_keeps_others_from_running_its_jobs_on_their_machines(leases: Leases) -> None:
    tell_tick(leases, "a", "kubernetes")
    tell_tick(leases, "b", "local")
    for project in ("a", "b"):
        leases.release(sensor_lease(project), SENSOR_OWNER)
    assert find_other_executors(leases, ["a", "b", "c"], "local") == {"a": "kubernetes"}
    assert find_other_executors(leases, ["a", "b", "c"], "kubernetes") == {}
    tell_tick(leases, "a", "local")
    assert find_other_executors(leases, ["a", "b", "c"], "local") == {}


def test_one_of_many_gets_the_lease_whoever_comes_first(leases: Leases) -> None:
    got: list[str] = []
    begin = threading.Barrier(8)

    def take(owner: str) -> None:
        begin.wait(30)
        if leases.acquire("job/1", owner, TTL):
            got.append(owner)

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [leases.find_owner("job/1")] == got


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
