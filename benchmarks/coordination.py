"""Leases and claims: a lease taken and given back, and renewed, in etcd, in a record on SQLite and, where TEST_METADATA_URL names a server, on PostgreSQL,
against etcd's client by itself; a datum set claimed and done by one worker and by eight; word of a change, from the transaction to whoever waits.

An etcd of its own is started where there is one; TEST_ETCD_URL names another, and where there is neither all is left out. Aims: at most twice the client's
own calls for the same.
"""

import contextlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from etcd3gw.client import Etcd3Client

from benchmarks.measuring import line, milliseconds, percentile
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.coordination.changes import Watcher
from pachyderm_dagster.coordination.database_leases import DatabaseLeases
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import EtcdAddress, parse_etcd_url
from pachyderm_dagster.coordination.etcd_changes import EtcdChanges
from pachyderm_dagster.coordination.etcd_claims import EtcdClaims
from pachyderm_dagster.coordination.etcd_leases import EtcdLeases
from pachyderm_dagster.coordination.leases import LEASE_TIME, Leases
from pachyderm_dagster.metadata.database import Database, open_engine
from tests.etcds import EtcdServer
from tests.records import new_record_url

TIMES = 300
SETS, WORKERS = 1000, 8
WORDS = 50


def main() -> None:
    """Prints milliseconds a call, and ratios."""
    if "TEST_ETCD_URL" not in os.environ and shutil.which("etcd") is None:
        print("left out: etcd is not installed (apt-get install etcd-server), and TEST_ETCD_URL names none")
        return
    with tempfile.TemporaryDirectory() as folder, etcd_address(Path(folder)) as address:
        client = bare_client(address)
        bare = {"taken and given back": median(lambda number: take_bare(client, number)), "renewed": median(renew_bare(client))}
        of_leases("in etcd", EtcdLeases(Etcd(address)), bare, aim=2.0)
        for name, url in records(Path(folder)):
            with contextlib.closing(Database(open_engine(url), SystemClock())) as database:
                of_leases(f"in {name}", DatabaseLeases(database), bare)
        of_claims(address, client)
        of_words(address)


@contextlib.contextmanager
def etcd_address(folder: Path) -> Iterator[EtcdAddress]:
    """An etcd to measure."""
    prefix = f"benchmark-{os.getpid()}"
    url = os.environ.get("TEST_ETCD_URL")
    with contextlib.ExitStack() as stack:
        yield parse_etcd_url(f"{url or stack.enter_context(EtcdServer(folder)).url}/{prefix}", {})


def records(folder: Path) -> Iterator[tuple[str, str]]:
    """A record in a file, and one on a server."""
    yield "SQLite", f"sqlite:///{folder}/metadata.db"
    if os.environ.get("TEST_METADATA_URL"):
        with new_record_url(folder) as url:
            yield "PostgreSQL", url
    else:
        line("in PostgreSQL: no server (TEST_METADATA_URL is not set)", None)


def bare_client(address: EtcdAddress) -> Etcd3Client:
    """The client as its users have it."""
    host, _, port = address.endpoints[0].rpartition(":")
    client = Etcd3Client(host, int(port), api_path="/v3/")
    client.status()
    return client


def median(call: Callable[[int], object]) -> float:
    """Of many calls, after some that do not count."""
    milliseconds(call, 20)
    return statistics.median(milliseconds(call, TIMES))


def take_bare(client: Etcd3Client, number: int) -> None:
    """What etcd's users do for a lease: look who has it, put it under a lease of etcd, give it back."""
    key = f"bare/{number}"
    client.get(key)
    lease = client.lease(15)
    if not client.create(key, "a", lease):
        raise SystemExit("the key is there")
    client.get(key)
    lease.revoke()


def renew_bare(client: Etcd3Client) -> Callable[[int], object]:
    """Looks whose it is, and keeps it alive."""
    lease = client.lease(15)
    client.create("bare", "a", lease)

    def renew(_number: int) -> None:
        client.get("bare")
        lease.refresh()

    return renew


def of_leases(where: str, leases: Leases, bare: dict[str, float], *, aim: float | None = None) -> None:
    """One owner's."""

    def take(number: int) -> None:
        if not leases.acquire(f"job/{number}", "a", LEASE_TIME):
            raise SystemExit("the lease is held")
        leases.release(f"job/{number}", "a")

    leases.acquire("kept", "a", LEASE_TIME)
    for what, call in (("taken and given back", take), ("renewed", lambda _: leases.acquire("kept", "a", LEASE_TIME))):
        taken = median(call)
        line(
            f"a lease {what}, {where}, of the client alone",
            taken / bare[what],
            aim,
            detail=f"{taken:.2f} ms, {1000 / taken:.0f} a second; alone {bare[what]:.2f} ms",
        )


def of_claims(address: EtcdAddress, client: Etcd3Client) -> None:
    """From the claim of a set to its end, without the work between."""
    put = median(lambda number: client.put(f"bare/{number % 10}", "x"))
    for count in (1, WORKERS):
        claims = EtcdClaims(Etcd(address), f"job-{count}")
        claims.offer(range(SETS))
        times: list[float] = []
        threads = [threading.Thread(target=work_off, args=(EtcdClaims(Etcd(address), f"job-{count}"), times)) for _ in range(count)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        progress = claims.progress()
        if progress.done != SETS or len(times) != SETS:
            raise SystemExit(f"{progress} of {SETS} sets, {len(times)} counted")
        claims.remove()
        # Several are threads of one process here, which share an interpreter.
        detail = f"{statistics.median(times):.1f} ms, 99 of 100 in {percentile(times, 0.99):.1f} ms; {SETS / seconds:.0f} sets a second; a put {put:.2f} ms"
        line(
            f"a set claimed and done, {count} worker{'s' * (count > 1)}, of three puts",
            seconds / SETS * 1000 / (3 * put),
            2.0 if count == 1 else None,
            detail=detail,
        )


def work_off(claims: EtcdClaims, times: list[float]) -> None:
    """One worker, as long as there is something to claim."""
    with claims.worker("worker") as worker:
        while True:
            began = time.perf_counter()
            claim = worker.claim()
            if claim is None:
                return
            worker.finish(claim, "results/of/the/set")
            times.append((time.perf_counter() - began) * 1000)


def of_words(address: EtcdAddress) -> None:
    """From an announcement to the end of a wait in another thread; without etcd it is half a poll, and the polls."""
    changes = EtcdChanges(Etcd(address))
    woken = threading.Event()
    stop = threading.Event()

    def wait(watcher: Watcher) -> None:
        while not stop.is_set():
            watcher.wait(60, 60)
            woken.set()

    with EtcdChanges(Etcd(address)).watch() as watcher:
        watcher.wait(10, 10)
        thread = threading.Thread(target=wait, args=(watcher,))
        thread.start()
        times = []
        for _ in range(WORDS):
            time.sleep(0.05)
            woken.clear()
            began = time.perf_counter()
            changes.announce()
            woken.wait(60)
            times.append((time.perf_counter() - began) * 1000)
        stop.set()
        changes.announce()
        thread.join()
    line(
        "word of a change, of half a poll of 50 ms",
        statistics.median(times) / 25,
        1.0,
        detail=f"{statistics.median(times):.1f} ms, at most {max(times):.1f} ms",
    )


if __name__ == "__main__":
    main()
