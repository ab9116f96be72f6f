"""What an executor is told of a job beside its tasks."""

from dataclasses import dataclass

from pachyderm_dagster.pps.job_inputs import JobInputs


@dataclass(frozen=True, slots=True)
class JobDatums:
    """A job, with its pipeline, and how many datums of it are to run."""

    inputs: JobInputs
    count: int
