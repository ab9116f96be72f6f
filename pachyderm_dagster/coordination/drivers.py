"""Who runs the due jobs of a project: its daemon, which says so at each tick of its commit sensor; where none is up, whoever waits, by the same executor."""

import datetime as dt
from collections.abc import Collection

from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.coordination.names import executor_lease, sensor_lease

SENSOR_OWNER = "commit-sensor"
"""One for all processes: after a reload another code server goes on with the lease."""
SENSOR_LEASE_TIME = dt.timedelta(seconds=150)
"""Dagster's daemon looks every 5 s and gives up a tick after 60: one that took so long, and one that failed, may lie between two that say so."""
_DEFAULT = "local"
_EXECUTOR_TIME = dt.timedelta(days=30)


def tell_tick(leases: Leases, project: str, executor: str) -> None:
    """Says that a daemon is up which runs the jobs of a project by `executor`, one of the settings' names."""
    leases.acquire(sensor_lease(project), SENSOR_OWNER, SENSOR_LEASE_TIME)
    lease = executor_lease(project)
    if not leases.acquire(lease, executor, _EXECUTOR_TIME) and (other := leases.find_owner(lease)) is not None:
        # The daemon has another executor than before, or two daemons have two: the last one counts.
        leases.release(lease, other)
        leases.acquire(lease, executor, _EXECUTOR_TIME)


def find_other_executors(leases: Leases, projects: Collection[str], executor: str) -> dict[str, str]:
    """The projects whose jobs this process, which has `executor`, is not to run: their daemon ran them by another one. With the name of that.

    Whoever has `local` may only lack the settings of a release; who has another one was told to use it, also after a daemon that had `local`.
    """
    by_lease = {executor_lease(project): project for project in projects}
    found = {by_lease[lease]: owner for lease, owner in leases.find_owners(by_lease).items()}
    return {project: owner for project, owner in found.items() if owner not in (executor, _DEFAULT)}
