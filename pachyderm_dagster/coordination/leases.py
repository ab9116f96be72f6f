"""Leases: who may do something that only one may do, until they stop saying so."""

import contextlib
import datetime as dt
import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Protocol, Self

from pachyderm_dagster.coordination.renewing import Renewing
from pachyderm_dagster.errors import ConflictError, PachydermError

LEASE_TIME = dt.timedelta(seconds=15)
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.1


class Leases(Protocol):
    """What a coordination service offers: leases that end by themselves when their owner dies.

    One that does not answer raises UnreachableError: `record-unreachable`, `coordination-unreachable`.
    """

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> bool:
        """Takes or renews the lease; False when somebody else holds it. It may live longer than `ttl`, never shorter."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Gives the lease back; no error when it was lost."""
        ...

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the lease now."""
        ...

    def find_owner(self, name: str) -> str | None:
        """Who holds the lease now; None: nobody."""
        ...

    def find_owners(self, names: Collection[str]) -> dict[str, str]:
        """Who holds these leases now, by name; without those that nobody does."""
        ...


class HeldLease:
    """A lease, acquired before, that a thread keeps alive for the length of a `with` block."""

    def __init__(self, leases: Leases, name: str, owner: str) -> None:
        self._leases, self._name, self._owner = leases, name, owner
        self._renewing = Renewing(lambda: leases.acquire(name, owner, LEASE_TIME), LEASE_TIME, f"lease {name}")

    def is_lost(self) -> bool:
        """Whether somebody else may hold it by now: it was taken over, or could not be renewed for as long as it lives."""
        return self._renewing.is_lost()

    def __enter__(self) -> Self:
        self._renewing.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._renewing.stop()
        # A lease that cannot be given back ends by itself; what the block did or raised counts more.
        with contextlib.suppress(PachydermError):
            self._leases.release(self._name, self._owner)


@contextlib.contextmanager
def wait_for(leases: Leases, name: str, owner: str) -> Iterator[HeldLease]:
    """Takes a lease for the length of a `with` block, as `hold` does, and waits while somebody else has it.

    Raises:
        ConflictError: `requests-busy`, when that takes too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not leases.acquire(name, owner, LEASE_TIME):
        if time.monotonic() > deadline:
            raise ConflictError("requests-busy", f"lease {name!r} was not free for {WAIT_SECONDS:g} s; is a commit sensor or a run stuck? Start it again")
        time.sleep(POLL_SECONDS)
    with HeldLease(leases, name, owner) as held:
        yield held


@contextlib.contextmanager
def hold(leases: Leases, name: str, owner: str) -> Iterator[HeldLease | None]:
    """Takes a lease for the length of a `with` block, renewed all the while; gives None when somebody else has it."""
    if not leases.acquire(name, owner, LEASE_TIME):
        yield None
        return
    with HeldLease(leases, name, owner) as held:
        yield held
