"""What an executor is told of a job beside its tasks."""

from collections.abc import Callable
from dataclasses import dataclass

from pachyderm_dagster.pps.job_inputs import JobInputs


@dataclass(frozen=True, slots=True)
class JobDatums:
    """A job, with its pipeline, and how many datums of it are to run.

    Attributes:
        is_lost: whether another process may run the job by now: what outlives this one, and is the job's, is that one's then.
    """

    inputs: JobInputs
    count: int
    is_lost: Callable[[], bool]
