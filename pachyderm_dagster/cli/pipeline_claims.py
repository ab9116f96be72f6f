"""Who follows a pipeline file: each pipeline is followed by one process, as two would undo each other's versions."""

import os
import socket
from collections.abc import Collection
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease, Leases
from pachyderm_dagster.coordination.names import followed_lease
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs.model import RepoName


class PipelineClaims:
    """The pipelines that this process follows, and no other meanwhile. A context manager that gives them back."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases, self._clock = leases, clock
        self._held: dict[RepoName, HeldLease] = {}

    def __bool__(self) -> bool:
        """Whether it has any."""
        return bool(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as all_of_them:
            for held in self._held.values():
                all_of_them.push(held)

    def take(self, names: Collection[RepoName]) -> None:
        """Has these, all or none, and from then on no others.

        Raises:
            StateError: `dev-running`, when another process has one of them; what this one had it still has.
        """
        wanted = [name for name in names if name not in self._held or self._held[name].is_lost()]
        with ExitStack() as taken:
            new = {name: taken.enter_context(self._claimed(name)) for name in wanted}
            taken.pop_all()
        before, self._held = self._held, {name: new.get(name) or self._held[name] for name in names}
        for held in [held for name, held in before.items() if self._held.get(name) is not held]:
            held.__exit__(None, None, None)

    def _claimed(self, name: RepoName) -> HeldLease:
        lease = followed_lease(name.project, name.name)
        # It is shown to whoever is refused; a claim after one that was lost is another one.
        owner = f"process {os.getpid()} of {socket.gethostname()} (claim {self._clock.new_id()[:8]})"
        if not self._leases.acquire(lease, owner, LEASE_TIME):
            other = self._leases.find_owner(lease) or "another process"
            seconds = LEASE_TIME.total_seconds()
            problem = f"`dev pipeline` follows pipeline '{name}' already: {other}"
            raise StateError("dev-running", f"{problem}; use that one, or end it first (after a crash its claim lasts {seconds:g} s)")
        return HeldLease(self._leases, lease, owner)
