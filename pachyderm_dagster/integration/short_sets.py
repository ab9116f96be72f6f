"""Whether the jobs of a commit set can be expected to take an instant, and what ends them when they take longer after all."""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.pps.model import Job

LONGEST = dt.timedelta(seconds=30)
"""A set whose jobs took longer of late, or of which nobody knows, gets a run: that is no matter of an instant, and others would wait."""
RECENT_JOBS = 3
LOOKED_BACK = 20
"""Ended jobs among which those are looked for that tell how long one takes."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How long the jobs of a set may take from now on until they are left to a run, so that others need not wait for them."""

    now: Callable[[], dt.datetime]
    longest: dt.timedelta
    until: dt.datetime

    @classmethod
    def begin(cls, now: Callable[[], dt.datetime], longest: dt.timedelta) -> "Limit":
        """One that begins now."""
        return cls(now, longest, now() + longest)

    def is_over(self) -> bool:
        """Whether they took longer."""
        return self.now() > self.until

    def check(self) -> None:
        """Raises ExecutionError `job-too-long` when it is over."""
        if self.is_over():
            seconds = f"{self.longest.total_seconds():g} s"
            raise ExecutionError(
                "job-too-long", f"its commit set took longer than the {seconds} for which one is done without a run; a Dagster run goes on with it"
            )


def expected_seconds(ended: Sequence[Job], longest: dt.timedelta) -> float:
    """How long the next job of a pipeline will take, by the longest of its recent ones; infinity when none of them tells.

    One in which no datum ran, as the first of a pipeline that was made before its data, tells nothing, however soon it ended; but one that took longer does.

    Args:
        ended: its jobs, newest first.
    """
    took = [_seconds(job) for job in ended if _ran_datums(job) or _seconds(job) > longest.total_seconds()]
    return max(took[:RECENT_JOBS], default=math.inf)


def _ran_datums(job: Job) -> bool:
    done = job.counters
    return done.data_processed + done.data_failed + done.data_recovered > 0


def _seconds(job: Job) -> float:
    return 0.0 if job.started is None or job.finished is None else (job.finished - job.started).total_seconds()
