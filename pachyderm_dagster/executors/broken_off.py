"""Datums that ran when their job was ended: what is known of each, read before its worker goes, so that people see which one hung and what it said."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.worker.protocol import DatumResult, DatumState


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """A datum that ran for longer than a moment.

    Attributes:
        output: what it had printed, up to `worker.live.LIVE_BYTES`.
    """

    datum: str
    started: dt.datetime
    output: bytes


def read_running(home: Path, job: Job) -> Iterator[BrokenOff]:
    """The datums of a job that run on this machine now."""
    for one in find_running(home, job):
        yield BrokenOff(one.datum.datum, one.started, one.output(0))


def broken_result(broken: BrokenOff, index: int, log: Content | None, *, now: dt.datetime, reason: str) -> DatumResult:
    """How such a datum is remembered: as failed. `log` is its output, stored."""
    return DatumResult(
        id=broken.datum,
        index=index,
        state=DatumState.FAILED,
        reason=f"it ran and was broken off: {reason}",
        tries=1,
        process_seconds=max(0.0, (now - broken.started).total_seconds()),
        log=log,
        started=broken.started.timestamp(),
    )
