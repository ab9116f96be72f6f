"""How a worker in a pod gets datum sets: claimed in the store, where they stay its own, or in etcd under a lease that lives as long as the worker; and, by a
worker that stays between jobs, as long as the job is offered.
"""

import contextlib
import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.work_area import Claim, WorkArea

if TYPE_CHECKING:
    # What is here needs no client of etcd to be imported.
    from pachyderm_dagster.coordination.etcd_claims import Claim as Lease
    from pachyderm_dagster.coordination.etcd_claims import EtcdClaims

LEASE_SECONDS = 15
"""So long after a worker's death others may have its sets."""


class SetClaims(Protocol):
    """The sets of one worker. Errors as the store's, or etcd's."""

    def take(self) -> int | None:
        """Claims a set; None when there is none now."""
        ...

    def may_come(self) -> bool:
        """Whether there may be another set later, when there was none."""
        ...

    def finish(self, number: int) -> None:
        """Says that all results of a set are in the area. May be called by another thread than the others."""
        ...

    def close(self) -> None:
        """Lets others have what is not finished."""
        ...


class StoreClaims:
    """Claims by create-if-absent. A set is its holder's for ever: a completion index's, whose next pod goes on with it, or that of a pod that stays."""

    def __init__(self, area: WorkArea, claim: Claim) -> None:
        self._area, self._claim = area, claim
        self._own: deque[int] | None = None
        self._next: int | None = None
        self._total: int | None = None

    def take(self) -> int | None:
        """First those that this completion index has already."""
        if self._own is None:
            self._own = deque(self._area.claims_of(self._claim.holder))
        if self._own:
            return self._own.popleft()
        # In this order: a set that comes later is then not overlooked.
        self._total = self._area.sets_written()
        for number in self._free():
            # After a lost race the next one may be had.
            if self._area.claim(number, self._claim):
                self._next = number + 1
                return number
        return None

    def may_come(self) -> bool:
        """As long as the driver writes them."""
        return self._total is None

    def finish(self, number: int) -> None:
        """It is known by the last part of the results."""

    def close(self) -> None:
        """Nobody else takes them."""

    def _free(self) -> Iterable[int]:
        """The sets that nobody has, from where this worker is on, and then those before: where that is, all that is listed is one page."""
        if self._total is None:
            free = list(self._area.free_sets(0))
            start = int(self._claim.place * len(free))
            return free[start:] + free[:start]
        if self._next is None:
            self._next = int(self._claim.place * self._total)
        return chain(self._area.free_sets(self._next), self._area.free_sets(0))


class LeasedClaims:
    """Claims in etcd, which come back when this worker is gone: it waits, as long as others have sets, for those of one that dies."""

    def __init__(self, area: WorkArea, claims: "EtcdClaims", claim: Claim, *, ttl: dt.timedelta = dt.timedelta(seconds=LEASE_SECONDS)) -> None:
        self._area, self._claims = area, claims
        self._exits = contextlib.ExitStack()
        self._worker = self._exits.enter_context(claims.worker(f"{claim.index} {claim.pod}", ttl=ttl))
        self._leases: dict[int, Lease] = {}

    def take(self) -> int | None:
        """Any that nobody has."""
        while (lease := self._worker.claim()) is not None:
            is_known = lease.number in self._leases
            self._leases[lease.number] = lease
            # One that it is at, and that was free because its lease had ended meanwhile, it goes on with.
            if not is_known:
                return lease.number
        return None

    def may_come(self) -> bool:
        """As long as not all are done."""
        total = self._area.sets_written()
        return total is None or self._claims.progress().done < total

    def finish(self, number: int) -> None:
        """Whoever did it too: the results are there."""
        self._worker.finish(self._leases.pop(number), "")

    def close(self) -> None:
        """At once, and not when the lease ends."""
        self._exits.close()


class OfferedClaims:
    """Those of a worker that stays: it waits with a job for what others leave, until the job is not offered any more, or another one is too.

    Args:
        inner: the claims themselves.
        withdraw: takes back one of a job that has ended.
    """

    def __init__(self, inner: SetClaims, queue: JobQueue, job: str, withdraw: Callable[[int], None]) -> None:
        self._inner, self._queue, self._job, self._withdraw = inner, queue, job, withdraw

    def take(self) -> int | None:
        """As `inner`; none of a job that has ended, whose claims are removed before its sets."""
        number = self._inner.take()
        if number is not None and not self._queue.has(self._job):
            self._withdraw(number)
            return None
        return number

    def may_come(self) -> bool:
        """Of a pod that is gone, or from a driver that is still at it."""
        return self._queue.jobs() == [self._job]

    def finish(self, number: int) -> None:
        """As `inner`."""
        self._inner.finish(number)

    def close(self) -> None:
        """As `inner`."""
        self._inner.close()
