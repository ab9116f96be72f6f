"""Claims of a job's datum sets by its workers, in etcd: each set is one worker's at a time, and done once; a dead worker's sets come back by themselves."""

import contextlib
import datetime as dt
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.etcd import Etcd, LeaseGone
from pachyderm_dagster.coordination.etcd_leases import MOST_OPERATIONS, whole_seconds
from pachyderm_dagster.coordination.etcd_messages import KeyValue
from pachyderm_dagster.coordination.renewing import Renewing
from pachyderm_dagster.errors import PachydermError

WORKER_TIME = dt.timedelta(seconds=15)
RESULTS_AT_ONCE = 1000
# Keys that are looked at for a free set, twice as many each time that there is none, as where many workers are busy.
_WINDOW, _LONGEST_WINDOW = 32, 1024
_HELD = "/held"


@dataclass(frozen=True, slots=True)
class Claim:
    """A datum set that a worker has. `attempt`: how often the set was claimed, this time included."""

    number: int
    attempt: int
    worker: str
    token: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of a job's sets, all of one moment. What is neither done nor claimed waits."""

    offered: int
    claimed: int
    done: int


class Finished(msgspec.Struct, frozen=True):
    """A set that is done: who did it at which attempt, and what its worker said of the result."""

    number: int
    attempt: int
    worker: str
    result: str


class EtcdClaims:
    """The datum sets of one job; driver and workers each have one of these.

    `job` names one division into sets: a set's number means the same datums for everybody, and another division takes another name.

    Keys below `claims/JOB/`: `set/N` until it is done, with the number of attempts; `set/N/held` and `busy/N` while a worker has it, under that one's
    etcd lease; `done/N`. A claim takes two calls, usually, and a result one, however many sets and workers there are.
    """

    def __init__(self, etcd: Etcd, job: str) -> None:
        self._etcd = etcd
        self._prefix = f"{etcd.address.prefix}/claims/{job}/"

    def offer(self, numbers: Iterable[int]) -> None:
        """Adds sets to those that workers may claim. One that was offered before, or is done, stays as it is."""
        wanted = list(numbers)
        for start in range(0, len(wanted), MOST_OPERATIONS):
            self._etcd.change(m.transaction([], [m.within(self._offer(number)) for number in wanted[start : start + MOST_OPERATIONS]]))

    def _offer(self, number: int) -> m.Message:
        key = self._key("set", number)
        return m.transaction([m.is_absent(key), m.is_absent(self._key("done", number))], [m.put(key, "0")])

    def progress(self) -> Progress:
        """How far the job is; one call."""
        ranges = [m.get(first, m.behind(first), count_only=True) for first in (f"{self._prefix}{kind}/" for kind in ("set", "busy", "done"))]
        answer = self._etcd.change(m.transaction([], ranges))
        sets_and_held, claimed, done = (int(m.part(answer, place, "range").get("count", 0)) for place in range(3))
        return Progress(sets_and_held - claimed + done, claimed, done)

    def results(self, after: int = 0) -> tuple[list[Finished], int]:
        """Sets that were done since, in that order, up to `RESULTS_AT_ONCE`; and what to give as `after` next time."""
        first = f"{self._prefix}done/"
        options = {"min_mod_revision": str(after + 1), "sort_order": "ASCEND", "sort_target": "MOD", "limit": str(RESULTS_AT_ONCE)}
        found = m.key_values(self._etcd.call("kv/range", m.range_of(first, m.behind(first), **options)))
        return [msgspec.json.decode(one.value, type=Finished) for one in found], max((one.revision for one in found), default=after)

    def remove(self) -> None:
        """Removes everything of the job: workers find nothing to claim, and what they finish counts no more."""
        self._etcd.call("kv/deleterange", m.range_of(self._prefix, m.behind(self._prefix)))

    def worker(self, name: str, *, ttl: dt.timedelta = WORKER_TIME) -> "ClaimingWorker":
        """A worker, for a `with` block in which it claims. `name` is for people; `ttl`: how long after its death others take what it has."""
        return ClaimingWorker(self._etcd, self._prefix, name, ttl)

    def _key(self, kind: str, number: int) -> str:
        return _key(self._prefix, kind, number)


class ClaimingWorker:
    """One worker of a job, whose claims live as long as a thread renews them all at once. The end of the `with` block gives back what is not done."""

    def __init__(self, etcd: Etcd, prefix: str, name: str, ttl: dt.timedelta) -> None:
        self._etcd, self._prefix, self._name = etcd, prefix, name
        self._seconds, self._ttl = whole_seconds(ttl), ttl
        self._lease = 0
        self._renewing: Renewing | None = None
        # The first set that was free when it took its last one: those before were others'.
        self._start = self._begin = f"{prefix}set/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_renewing()
        # What cannot be given back comes back by itself; what the block did or raised counts more.
        if self._lease:
            with contextlib.suppress(PachydermError):
                self._etcd.revoke(self._lease)

    def is_lost(self) -> bool:
        """Whether others may have what it claimed; the next claim begins anew."""
        return self._renewing is not None and self._renewing.is_lost()

    def claim(self) -> Claim | None:
        """Takes one of the next sets, some thirty, that are neither done nor another's; None when there is none now.

        By chance, so that workers seldom want the same one. What others have may come back when they die: `Progress` tells whether all is done.
        """
        for free in self._windows():
            for one in random.sample(free, len(free)):
                claim = self._take(one)
                if claim is not None:
                    self._start = free[0].key
                    return claim
        return None

    def finish(self, claim: Claim, result: str) -> bool:
        """Says that a set is done; False when it was already, or the job was removed: this result does not count then.

        A worker that was too slow to keep its claim may still be the first: what a set comes to does not depend on who does it.
        """
        key, done = self._key("set", claim.number), self._key("done", claim.number)
        said = msgspec.json.encode(Finished(claim.number, claim.attempt, claim.worker, result)).decode()
        # One range takes the claim along, which begins with the same key.
        then = [m.delete(key, m.behind(key)), m.delete(self._key("busy", claim.number)), m.put(done, said)]
        answer = self._etcd.change(m.transaction([m.is_present(key)], then, [m.get(done)]))
        if m.has_succeeded(answer):
            return True
        # When the call was done twice, the first time did it.
        return [one.value for one in m.key_values(m.part(answer, 0, "range"))] == [said]

    def give_back(self, claim: Claim) -> None:
        """Lets others have a set that is not done; nothing happens when it is no longer this worker's."""
        held, busy = self._key("set", claim.number) + _HELD, self._key("busy", claim.number)
        self._etcd.change(m.transaction([m.is_value(held, claim.token)], [m.delete(held), m.delete(busy)]))

    def _windows(self) -> Iterator[list[KeyValue]]:
        """Sets that nobody has, some at a time: from where this worker was on, then from the beginning to there."""
        end = m.behind(self._begin)
        places = [(self._start, end)] if self._start == self._begin else [(self._start, end), (self._begin, self._start)]
        for start, stop in places:
            first: str | None = start
            limit = _WINDOW
            while first is not None:
                found = m.key_values(self._etcd.call("kv/range", m.range_of(first, stop, limit=str(limit))))
                free, first = free_sets(found, limit)
                limit = min(2 * limit, _LONGEST_WINDOW)
                yield free

    def _take(self, one: KeyValue) -> Claim | None:
        claim = Claim(int(one.key.rpartition("/")[2]), int(one.value) + 1, self._name, f"{self._name} {os.urandom(8).hex()}")
        held = one.key + _HELD
        while True:
            lease = self._own_lease()
            then = [m.put(one.key, str(claim.attempt)), m.put(held, claim.token, lease=lease), m.put(self._key("busy", claim.number), self._name, lease=lease)]
            try:
                # Every claim changes the set's own key, so one that is as it was read is still free.
                answer = self._etcd.change(m.transaction([m.is_revision(one.key, one.revision)], then, [m.get(held)]))
            except LeaseGone:
                self._stop_renewing()
                continue
            if m.has_succeeded(answer) or [other.value for other in m.key_values(m.part(answer, 0, "range"))] == [claim.token]:
                return claim
            return None

    def _own_lease(self) -> int:
        if self._renewing is None or self._renewing.is_lost():
            self._stop_renewing()
            self._lease = lease = self._etcd.grant(self._seconds)
            self._renewing = Renewing(lambda: self._etcd.keep_alive(lease) > 0, self._ttl, f"claims of {self._name}")
            self._renewing.start()
        return self._lease

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.stop()
            self._renewing = None

    def _key(self, kind: str, number: int) -> str:
        return _key(self._prefix, kind, number)


def free_sets(found: list[KeyValue], limit: int) -> tuple[list[KeyValue], str | None]:
    """The sets among some neighbouring keys that nobody has, and the key to go on from; None behind the last.

    Args:
        limit: of how many keys were asked for: when there are as many, the last one's claim may be cut off.
    """
    sets = [one for one in found if not one.key.endswith(_HELD)]
    held = {one.key.removesuffix(_HELD) for one in found if one.key.endswith(_HELD)}
    rest = None
    if len(found) == limit:
        rest = sets.pop().key if not found[-1].key.endswith(_HELD) else m.behind(sets[-1].key)
    return [one for one in sets if one.key not in held], rest


def _key(prefix: str, kind: str, number: int) -> str:
    return f"{prefix}{kind}/{number:012}"
