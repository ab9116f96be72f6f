"""What is done about a commit set, given the runs that it has had."""

import datetime as dt

import dagster as dg
import pytest

from pachyderm_dagster.integration.set_runs import MAX_ATTEMPTS, Ask, Busy, GiveUp, Later, Progress, SetRun, is_dead, judge
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Counters, Job, JobState

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(hours=1)
STATUS = dg.DagsterRunStatus


def job(name: str, key: int = 1, answered: int = 0) -> Job:
    return Job(key, "5" * 32, RepoName("default", name), 1, JobState.CREATED, "", NOW, None, None, Counters(data_processed=answered), 0, None, 1, 2)


def run(
    status: STATUS,
    *names: str,
    attempt: int = 1,
    ended: dt.datetime = LONG_AGO,
    cancelled: bool = False,
    interrupted: bool = False,
    progress: Progress | None = None,
) -> SetRun:
    pipelines = frozenset(RepoName("default", name) for name in names)
    return SetRun(f"run-{attempt}", status, pipelines, attempt, ended, cancelled_by_user=cancelled, interrupted=interrupted, progress=progress)


EDGES, MONTAGE = job("edges"), job("montage", 2)


def test_set_without_a_run_is_asked_for() -> None:
    assert judge([EDGES], [], NOW) == Ask(1)


@pytest.mark.parametrize("status", [STATUS.QUEUED, STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED, STATUS.CANCELING])
def test_set_with_an_active_run_is_left_alone(status: STATUS) -> None:
    active = run(status, "edges")
    assert judge([EDGES], [active], NOW) == Busy(active)


def test_run_that_ended_and_left_a_job_is_followed_by_another_attempt() -> None:
    assert judge([EDGES], [run(STATUS.FAILURE, "edges")], NOW) == Ask(2)


def test_next_attempt_waits_a_little_longer_each_time() -> None:
    first = run(STATUS.FAILURE, "edges", ended=NOW)
    second = run(STATUS.FAILURE, "edges", attempt=2, ended=NOW)
    assert judge([EDGES], [first], NOW) == Later(NOW + dt.timedelta(seconds=10), 2)
    assert judge([EDGES], [first, second], NOW) == Later(NOW + dt.timedelta(seconds=40), 3)


def test_attempts_come_to_an_end_with_a_reason() -> None:
    runs = [run(STATUS.FAILURE, "edges", attempt=attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    verdict = judge([EDGES], runs, NOW)
    assert isinstance(verdict, GiveUp)
    assert verdict.jobs == (EDGES,)
    assert "run-4" in verdict.reason and "4 Dagster runs" in verdict.reason


def test_attempts_since_which_datums_were_answered_do_not_count() -> None:
    reached = [*range(10), 9, 9]
    runs = [run(STATUS.FAILURE, "edges", attempt=number + 1, ended=NOW, progress=Progress.of([job("edges", 1, at)])) for number, at in enumerate(reached)]
    assert judge([job("edges", 1, 10)], runs, NOW) == Later(NOW + dt.timedelta(seconds=10), 13)
    # Three brought nothing after the ninth datum, a fourth ends it.
    assert judge([job("edges", 1, 9)], runs, NOW) == Later(NOW + dt.timedelta(seconds=160), 13)
    last = run(STATUS.FAILURE, "edges", attempt=13, progress=Progress.of([job("edges", 1, 9)]))
    assert isinstance(judge([job("edges", 1, 9)], [*runs, last], NOW), GiveUp)


def test_a_job_that_ended_is_progress_of_its_set() -> None:
    begun = Progress.of([job("edges", 1, 5), MONTAGE])
    assert Progress.decode(begun.encode()) == begun < Progress.of([MONTAGE])
    runs = [run(STATUS.FAILURE, "edges", "montage", attempt=attempt, progress=begun) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert judge([MONTAGE], runs, NOW) == Ask(5)
    assert isinstance(judge([job("edges", 1, 5), MONTAGE], runs, NOW), GiveUp)


def test_only_attempts_that_included_the_job_count() -> None:
    by_hand = [run(STATUS.SUCCESS, "edges", attempt=attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert judge([MONTAGE], by_hand, NOW) == Ask(5)


def test_run_that_a_user_cancelled_is_not_repeated() -> None:
    cancelled = run(STATUS.CANCELED, "edges", "montage", cancelled=True)
    verdict = judge([EDGES, MONTAGE], [cancelled], NOW)
    assert isinstance(verdict, GiveUp)
    assert verdict.jobs == (EDGES, MONTAGE)
    assert verdict.reason == "Dagster run run-1 was cancelled"


def test_interrupted_runs_are_repeated_at_once_and_however_often() -> None:
    runs = [run(STATUS.FAILURE, "edges", attempt=attempt, ended=NOW, interrupted=True) for attempt in range(1, 10)]
    assert judge([EDGES], runs, NOW) == Ask(10)


def test_run_is_dead_after_a_silence_which_is_longer_while_it_starts() -> None:
    half_a_minute = NOW - dt.timedelta(seconds=30)
    assert is_dead(run(STATUS.STARTED, "edges"), half_a_minute, NOW)
    assert not is_dead(run(STATUS.STARTED, "edges"), half_a_minute + dt.timedelta(seconds=1), NOW)
    assert not is_dead(run(STATUS.STARTING, "edges"), half_a_minute, NOW)
    assert not is_dead(run(STATUS.STARTED, "edges"), None, NOW)
