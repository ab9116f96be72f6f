"""Word of changes comes at once, is not lost when etcd restarts, forgets or loses what was, and its absence costs a poll."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.coordination.changes import Changes, Polling, Watcher
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.etcd_changes import EtcdChanges, EtcdWatcher
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.record import open_record
from tests.etcds import SERVER, EtcdServer, compact, free_port, needs_etcd, new_address

KINDS = ["polling", *(["etcd"] if SERVER else [])]
# A wait that takes so long has missed the word that it waits for.
LONG = 60.0


@pytest.fixture(params=KINDS)
def changes(request: pytest.FixtureRequest) -> Changes:
    return Polling() if request.param == "polling" else EtcdChanges(Etcd(new_address()))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path) as server:
        yield server


def etcd_at(server: EtcdServer) -> Etcd:
    return Etcd(parse_etcd_url(server.url, {}))


def seconds_of_wait(watcher: Watcher, poll_seconds: float = LONG, longest_seconds: float = LONG) -> float:
    began = time.monotonic()
    watcher.wait(poll_seconds, longest_seconds)
    return time.monotonic() - began


def settle(watcher: Watcher) -> None:
    """Waits for the word that each watch begins with, of what it may have missed."""
    assert seconds_of_wait(watcher) < LONG / 2


def test_whoever_looks_in_between_finds_what_was_announced(changes: Changes) -> None:
    seen: list[int] = []
    done = threading.Event()

    def work() -> None:
        for number in range(20):
            seen.append(number)
            changes.announce()
        done.set()

    with changes.watch() as watcher:
        thread = threading.Thread(target=work)
        thread.start()
        while len(seen) < 20:
            watcher.wait(0.01, LONG)
        thread.join()
    assert done.is_set()


def test_watch_ends_at_once(changes: Changes) -> None:
    began = time.monotonic()
    for _ in range(3):
        with changes.watch() as watcher:
            watcher.wait(0.0, 0.0)
    assert time.monotonic() - began < 3


@needs_etcd
def test_word_ends_a_wait_at_once_also_when_it_came_before_the_wait() -> None:
    address = new_address()
    changes, others = EtcdChanges(Etcd(address)), EtcdChanges(Etcd(address))
    with changes.watch() as watcher:
        settle(watcher)
        others.announce()
        assert seconds_of_wait(watcher) < LONG / 2
        threading.Timer(0.2, others.announce).start()
        assert 0.1 < seconds_of_wait(watcher) < LONG / 2


@needs_etcd
def test_without_word_a_live_watch_waits_the_longer_time() -> None:
    with EtcdChanges(Etcd(new_address())).watch() as watcher:
        settle(watcher)
        assert 0.5 <= seconds_of_wait(watcher, 0.01, 0.5) < LONG


@needs_etcd
def test_word_of_another_home_wakes_nobody() -> None:
    with EtcdChanges(Etcd(new_address())).watch() as watcher:
        settle(watcher)
        EtcdChanges(Etcd(new_address())).announce()
        assert seconds_of_wait(watcher, 0.01, 0.5) >= 0.5


@needs_etcd
def test_burst_wakes_no_more_than_fifty_times_a_second() -> None:
    changes = EtcdChanges(Etcd(new_address()))
    stop = threading.Event()

    def announce() -> None:
        while not stop.is_set():
            changes.announce()

    thread = threading.Thread(target=announce)
    with changes.watch() as watcher:
        settle(watcher)
        thread.start()
        began = time.monotonic()
        for _ in range(20):
            watcher.wait(LONG, LONG)
        taken = time.monotonic() - began
        stop.set()
        thread.join()
    assert taken >= 0.35


@needs_etcd
def test_word_that_came_while_etcd_was_being_restarted_is_told(server: EtcdServer) -> None:
    changes, others = EtcdChanges(etcd_at(server)), EtcdChanges(etcd_at(server))
    with changes.watch() as watcher:
        settle(watcher)
        for _ in range(3):
            server.kill()
            server.start()
            # The watch is not open yet, as it makes pauses between attempts; it goes on behind what it saw last.
            others.announce()
            assert seconds_of_wait(watcher) < LONG / 2


@needs_etcd
def test_away_etcd_costs_the_poll_and_holds_up_one_announcement_only() -> None:
    changes = EtcdChanges(Etcd(parse_etcd_url(f"etcd://127.0.0.1:{free_port()}", {})))
    with changes.watch() as watcher:
        assert seconds_of_wait(watcher, 0.05, LONG) < LONG / 2
    changes.announce()
    began = time.monotonic()
    for _ in range(1000):
        changes.announce()
    assert time.monotonic() - began < 1


@needs_etcd
def test_watch_whose_revision_is_compacted_begins_anew_with_a_word(server: EtcdServer) -> None:
    etcd = etcd_at(server)
    changes = EtcdChanges(etcd)
    for _ in range(5):
        changes.announce()
    compact(etcd)
    watcher = EtcdWatcher(etcd, f"{etcd.address.prefix}/changed")
    # As if it had stood still for as long.
    watcher._revision = 1
    with watcher:
        # Once of what it may have missed, once that it is open again.
        settle(watcher)
        settle(watcher)
        changes.announce()
        assert seconds_of_wait(watcher) < LONG / 2


@needs_etcd
def test_live_watch_survives_compaction(server: EtcdServer) -> None:
    etcd = etcd_at(server)
    changes = EtcdChanges(etcd)
    with changes.watch() as watcher:
        settle(watcher)
        for _ in range(3):
            changes.announce()
            compact(etcd)
            assert seconds_of_wait(watcher) < LONG / 2


@needs_etcd
def test_etcd_that_lost_its_data_is_watched_from_its_new_beginning(server: EtcdServer, tmp_path: Path) -> None:
    changes = EtcdChanges(etcd_at(server))
    with changes.watch() as watcher:
        settle(watcher)
        for _ in range(10):
            changes.announce()
        settle(watcher)
        server.kill()
        shutil.rmtree(tmp_path / "data")
        server.start()
        settle(watcher)
        settle(watcher)
        EtcdChanges(etcd_at(server)).announce()
        assert seconds_of_wait(watcher) < LONG / 2


@needs_etcd
def test_whoever_changes_a_record_wakes_those_who_wait_for_it(tmp_path: Path) -> None:
    environ = {"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_COORDINATION_URL": f"{SERVER}/tests/{tmp_path.name}"}
    waiting, changing = open_record(environ), open_record(environ)
    with waiting.changes.watch() as watcher:
        settle(watcher)
        changing.leases.acquire("job/1", "a", LEASE_TIME)
        changing.database.write(lambda txn: None)
        assert seconds_of_wait(watcher, 0.01, 0.3) >= 0.3
        changing.database.write(lambda txn: repos.create_project(txn, "vision"))
        assert seconds_of_wait(watcher) < LONG / 2
    for record in (waiting, changing):
        record.database.close()
