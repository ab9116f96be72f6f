"""Which jobs tell how long the next one will take, and how long it may."""

import datetime as dt
import math

import pytest

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.integration.short_sets import Limit, expected_seconds
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Counters, Job, JobState

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LONGEST = dt.timedelta(seconds=30)


def job(seconds: float, **counters: int) -> Job:
    return Job(
        key=1,
        id="1" * 32,
        pipeline=RepoName("default", "edges"),
        version=1,
        state=JobState.SUCCESS,
        reason="",
        created=BEGAN,
        started=BEGAN,
        finished=BEGAN + dt.timedelta(seconds=seconds),
        counters=Counters(**counters),
        restarts=0,
        run_id=None,
        output_commit=1,
        meta_commit=1,
    )


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ([], math.inf),
        ([job(0.1)], math.inf),
        ([job(0.1, data_total=5, data_skipped=5)], math.inf),
        ([job(0.1), job(3, data_processed=1)], 3),
        ([job(2, data_failed=1)], 2),
        ([job(2, data_recovered=1)], 2),
        ([job(100)], 100),
        ([job(1, data_processed=1), job(5, data_processed=1), job(1, data_processed=1), job(100, data_processed=1)], 5),
    ],
    ids=["none", "empty", "all skipped", "empty and another", "failed", "recovered", "ended by hand", "only the last three"],
)
def test_next_job_takes_as_long_as_the_longest_recent_one_in_which_datums_ran(ended: list[Job], expected: float) -> None:
    assert expected_seconds(ended, LONGEST) == expected


def test_limit_is_over_only_after_its_time() -> None:
    now = [BEGAN]
    limit = Limit.begin(lambda: now[0], LONGEST)
    now[0] = BEGAN + LONGEST
    limit.check()
    now[0] += dt.timedelta(microseconds=1)
    with pytest.raises(ExecutionError, match="30 s") as found:
        limit.check()
    assert found.value.code == "job-too-long"
