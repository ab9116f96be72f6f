"""Datum sets are one worker's at a time and done once, whoever dies, and whatever etcd does."""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.etcd_claims import Claim, ClaimingWorker, EtcdClaims, Finished, Progress, free_sets
from pachyderm_dagster.coordination.etcd_messages import KeyValue, Message
from pachyderm_dagster.coordination.open_etcd import open_claims
from pachyderm_dagster.record import open_record
from tests.etcds import SERVER, EtcdServer, needs_etcd, new_address

SECOND = dt.timedelta(seconds=1)


class CountingEtcd(Etcd):
    """Counts the calls, by method."""

    calls: Counter[str]

    def call(self, method: str, body: Message, *, patience_seconds: float | None = None) -> Message:
        self.calls[method] += 1
        return super().call(method, body, patience_seconds=patience_seconds)


@pytest.fixture
def claims() -> Iterator[EtcdClaims]:
    claims = EtcdClaims(Etcd(new_address()), "job")
    yield claims
    claims.remove()


def numbers(claims: Sequence[Claim | None]) -> list[int]:
    return sorted(claim.number for claim in claims if claim is not None)


@needs_etcd
def test_sets_are_claimed_once_and_done_once_with_their_results(claims: EtcdClaims) -> None:
    claims.offer(range(3))
    with claims.worker("a") as a, claims.worker("b") as b:
        taken = [a.claim(), b.claim(), a.claim()]
        assert numbers(taken) == [0, 1, 2]
        assert (a.claim(), b.claim()) == (None, None)
        assert claims.progress() == Progress(offered=3, claimed=3, done=0)
        first, second, _ = taken
        assert first is not None and second is not None
        assert a.finish(first, "results/0")
        assert not a.finish(first, "results/other")
        assert not b.finish(first, "results/other")
        assert b.finish(second, "results/1")
        assert claims.progress() == Progress(offered=3, claimed=1, done=2)
    assert claims.progress() == Progress(offered=3, claimed=0, done=2)
    found, place = claims.results()
    assert found == [Finished(first.number, 1, "a", "results/0"), Finished(second.number, 1, "b", "results/1")]
    assert claims.results(place) == ([], place)


@needs_etcd
def test_worker_finds_the_job_by_what_its_driver_tells_it(tmp_path: Path) -> None:
    record = open_record({"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_COORDINATION_URL": f"{SERVER}/tests/{tmp_path.name}"})
    assert record.etcd is not None
    driver = open_claims(record.etcd, "default-edges-1")
    driver.offer([0])
    told = {"PACHYDERM_COORDINATION_URL": record.etcd.url, **record.etcd.credentials}
    with open_claims(parse_etcd_url(told["PACHYDERM_COORDINATION_URL"], told), "default-edges-1").worker("pod") as worker:
        assert worker.claim() is not None
        assert driver.progress() == Progress(offered=1, claimed=1, done=0)
    driver.remove()
    record.database.close()


@needs_etcd
def test_sets_of_a_worker_that_dies_are_claimed_by_another_after_its_time(claims: EtcdClaims, monkeypatch: pytest.MonkeyPatch) -> None:
    claims.offer([7])
    dead = claims.worker("dead", ttl=SECOND)
    claim = dead.claim()
    assert claim is not None and claim.attempt == 1
    dead._stop_renewing()
    with claims.worker("alive") as alive:
        while (taken := alive.claim()) is None:
            assert claims.progress().claimed <= 1
        assert (taken.number, taken.attempt) == (7, 2)
        assert alive.finish(taken, "new")
        assert not dead.finish(claim, "old")
    assert [one.result for one in claims.results()[0]] == ["new"]


@needs_etcd
def test_claims_live_on_while_their_worker_does(claims: EtcdClaims) -> None:
    claims.offer([0])
    with claims.worker("slow", ttl=2 * SECOND) as slow, claims.worker("other") as other:
        claim = slow.claim()
        assert claim is not None
        end = threading.Event()
        threading.Timer(5, end.set).start()
        while not end.is_set():
            assert other.claim() is None
        assert not slow.is_lost()
        assert slow.finish(claim, "done")


@needs_etcd
def test_result_of_a_worker_that_was_too_slow_counts_when_it_is_the_first(claims: EtcdClaims) -> None:
    claims.offer([0])
    slow, fast = claims.worker("slow"), claims.worker("fast")
    late = slow.claim()
    claims._etcd.revoke(slow._lease)
    early = fast.claim()
    assert late is not None and early is not None
    assert slow.finish(late, "slow")
    assert not fast.finish(early, "fast")
    assert claims.progress() == Progress(offered=1, claimed=0, done=1)
    for worker in (slow, fast):
        worker.__exit__(None, None, None)


@needs_etcd
def test_worker_whose_lease_ended_claims_under_a_new_one(claims: EtcdClaims) -> None:
    claims.offer(range(2))
    with claims.worker("a") as worker:
        assert worker.claim() is not None
        claims._etcd.revoke(worker._lease)
        assert worker.claim() is not None
        assert claims.progress() == Progress(offered=2, claimed=1, done=0)


@needs_etcd
def test_set_that_is_given_back_is_the_next_ones(claims: EtcdClaims) -> None:
    claims.offer([0])
    with claims.worker("a") as a, claims.worker("b") as b:
        claim = a.claim()
        assert claim is not None
        a.give_back(claim)
        again = b.claim()
        assert again is not None and again.attempt == 2
        # It is another's by now.
        a.give_back(claim)
        assert a.claim() is None


@needs_etcd
def test_offering_again_changes_nothing_and_more_may_be_offered(claims: EtcdClaims) -> None:
    claims.offer(range(250))
    with claims.worker("a") as worker:
        claim = worker.claim()
        assert claim is not None
        assert worker.finish(claim, "r")
        held = worker.claim()
        claims.offer(range(300))
        assert held is not None
        assert claims.progress() == Progress(offered=300, claimed=1, done=1)


@needs_etcd
def test_removed_job_leaves_no_key_and_nothing_to_do(claims: EtcdClaims) -> None:
    claims.offer(range(10))
    with claims.worker("a") as worker:
        claim = worker.claim()
        assert claim is not None
        claims.remove()
        assert worker.claim() is None
        assert not worker.finish(claim, "late")
    prefix = claims._etcd.address.prefix + "/"
    assert m.key_values(claims._etcd.call("kv/range", m.range_of(prefix, m.behind(prefix)))) == []


@needs_etcd
def test_results_of_many_sets_come_in_portions(monkeypatch: pytest.MonkeyPatch, claims: EtcdClaims) -> None:
    monkeypatch.setattr("pachyderm_dagster.coordination.etcd_claims.RESULTS_AT_ONCE", 4)
    claims.offer(range(10))
    done: list[int] = []
    with claims.worker("a") as worker:
        while (claim := worker.claim()) is not None:
            worker.finish(claim, str(claim.number))
            done.append(claim.number)
    told: list[int] = []
    place = 0
    for size in (4, 4, 2, 0):
        found, place = claims.results(place)
        assert len(found) == size
        told += [one.number for one in found]
    assert told == done
    assert sorted(done) == list(range(10))


@needs_etcd
@pytest.mark.parametrize(("sets", "workers"), [(50, 1), (500, 1), (500, 20)])
def test_set_costs_three_calls_however_many_sets_and_workers_there_are(sets: int, workers: int) -> None:
    etcd = CountingEtcd(new_address())
    etcd.calls = Counter()
    claims = EtcdClaims(etcd, "job")
    claims.offer(range(sets))
    assert etcd.calls.total() == -(-sets // 100)
    etcd.calls.clear()
    crew = [claims.worker(str(number)) for number in range(workers)]
    idle = 0
    while not idle:
        for worker in crew:
            claim = worker.claim()
            idle += claim is None
            if claim is not None:
                assert worker.finish(claim, "r")
    for worker in crew:
        worker.__exit__(None, None, None)
    assert claims.progress().done == sets
    # Each worker has a lease, and looks once more when nothing is left.
    assert etcd.calls.total() <= 3 * sets + 6 * workers + 10
    claims.remove()


@needs_etcd
def test_many_workers_that_die_do_each_set_once(tmp_path: Path) -> None:
    """Etcd itself crashes twice meanwhile."""
    with EtcdServer(tmp_path) as server:
        claims = EtcdClaims(Etcd(parse_etcd_url(server.url, {})), "job")
        claims.offer(range(150))
        counted: list[int] = []

        def work(name: str) -> None:
            own = EtcdClaims(Etcd(parse_etcd_url(server.url, {})), "job")
            worker = own.worker(name, ttl=2 * SECOND)
            taken = 0
            while claims.progress().done < 150:
                claim = worker.claim()
                if claim is None:
                    continue
                taken += 1
                if taken % 7 == 3:
                    # It dies, and another comes in its place.
                    worker._stop_renewing()
                    worker = own.worker(f"{name}.{taken}", ttl=2 * SECOND)
                elif worker.finish(claim, name):
                    counted.append(claim.number)
            worker.__exit__(None, None, None)

        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
        for thread in threads:
            thread.start()
        for share in (30, 90):
            while claims.progress().done < share:
                pass
            server.kill()
            server.start()
        for thread in threads:
            thread.join()
        found, _ = claims.results()
        assert sorted(one.number for one in found) == sorted(counted) == list(range(150))


def keys(*words: str) -> list[KeyValue]:
    return [KeyValue(f"set/{word}", "0", 0, 1) for word in words]


@pytest.mark.parametrize(
    ("found", "limit", "free", "rest"),
    [
        ([], 4, [], None),
        (["01", "02", "02/held"], 4, ["01"], None),
        (["01", "02", "02/held", "03"], 4, ["01"], "set/03"),
        (["01", "02", "03", "03/held"], 4, ["01", "02"], "set/04"),
        (["09", "09/held"], 2, [], "set/0:"),
    ],
)
def test_free_sets_of_a_window_are_those_whose_claim_was_in_sight(found: list[str], limit: int, free: list[str], rest: str | None) -> None:
    told, place = free_sets(keys(*found), limit)
    assert ([one.key for one in told], place) == ([f"set/{one}" for one in free], rest)


class ClaimMachine(RuleBasedStateMachine):
    """Claims against dictionaries: who has which set, how often each was claimed, and what was done in which order."""

    @initialize()
    def begin(self) -> None:
        self.etcd = Etcd(new_address())
        self.claims = EtcdClaims(self.etcd, "job")
        self.workers: dict[str, ClaimingWorker] = {name: self.claims.worker(name) for name in "abc"}
        self.attempts: dict[int, int] = {}
        self.held: dict[int, Claim] = {}
        self.made: list[Claim] = []
        self.done: list[Finished] = []

    @property
    def free(self) -> set[int]:
        return self.attempts.keys() - self.held.keys() - {one.number for one in self.done}

    @rule(chosen=st.sets(st.integers(0, 200), max_size=5) | st.just(set(range(150))))
    def offer(self, chosen: set[int]) -> None:
        self.claims.offer(sorted(chosen))
        self.attempts |= dict.fromkeys(chosen - self.attempts.keys(), 0)

    @rule(name=st.sampled_from("abc"))
    def claim(self, name: str) -> None:
        claim = self.workers[name].claim()
        assert (claim is None) == (not self.free)
        if claim is not None:
            assert claim.number in self.free
            self.attempts[claim.number] += 1
            assert (claim.attempt, claim.worker) == (self.attempts[claim.number], name)
            self.held[claim.number] = claim
            self.made.append(claim)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), name=st.sampled_from("abc"), result=st.text(max_size=3))
    def finish(self, data: st.DataObject, name: str, result: str) -> None:
        claim = data.draw(st.sampled_from(self.made))
        said = Finished(claim.number, claim.attempt, claim.worker, result)
        before = next((one for one in self.done if one.number == claim.number), None)
        # The very same words a second time are taken for the same call.
        expected = claim.number in self.attempts and (before is None or before == said)
        assert self.workers[name].finish(claim, result) == expected
        if expected and before is None:
            self.done.append(said)
            self.held.pop(claim.number, None)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.made))
        self.workers[claim.worker].give_back(claim)
        if self.held.get(claim.number) == claim:
            del self.held[claim.number]

    @rule(name=st.sampled_from("abc"), is_killed=st.booleans())
    def lose(self, name: str, is_killed: bool) -> None:
        """The worker dies and comes again, or lives and was too slow to renew its claims."""
        worker = self.workers[name]
        self.etcd.revoke(worker._lease)
        if is_killed:
            worker._stop_renewing()
            self.workers[name] = self.claims.worker(name)
        self.held = {number: claim for number, claim in self.held.items() if claim.worker != name}

    @rule(sure=st.integers(0, 9))
    def remove(self, sure: int) -> None:
        if sure == 0:
            self.claims.remove()
            self.attempts, self.held, self.done = {}, {}, []

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "claims"):
            assert self.claims.progress() == Progress(len(self.attempts), len(self.held), len(self.done))
            assert self.claims.results()[0] == self.done

    def teardown(self) -> None:
        if hasattr(self, "claims"):
            self.claims.remove()
            for worker in self.workers.values():
                worker.__exit__(None, None, None)


if SERVER is not None:
    TestClaims = ClaimMachine.TestCase
    TestClaims.settings = settings(max_examples=30, stateful_step_count=30)
