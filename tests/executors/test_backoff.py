"""When a process that ended is started again, and when it is said to crash."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.executors.backoff import Backoff, RestartHistory

RULE = Backoff(first=1.0, most=60.0, stable=30.0, quick=5.0, crashes=3)


def after(*ends: tuple[float, bool]) -> RestartHistory:
    """How it has done after these ends: seconds of running, and whether it failed."""
    history = RestartHistory()
    for ran, failed in ends:
        history = history.ended(RULE, ran=ran, reason="why", failed=failed, not_started=False)
    return history


def test_wait_doubles_with_each_failure_in_a_row_up_to_the_most() -> None:
    assert [RULE.wait(failures) for failures in range(9)] == [1, 1, 2, 4, 8, 16, 32, 60, 60]


def test_third_failure_in_a_row_is_a_crash() -> None:
    assert not after((0, True), (0, True)).is_crashing
    assert after((0, True), (0, True), (0, True)).is_crashing


def test_program_that_ends_well_after_a_while_never_crashes() -> None:
    history = after(*[(5, False)] * 5)
    assert (history.failures, history.restarts, history.is_crashing) == (0, 5, False)


def test_program_that_ends_at_once_crashes_whatever_its_exit_code() -> None:
    assert [(after(*[(4.9, False)] * ends).failures, after(*[(4.9, False)] * ends).is_crashing) for ends in (1, 2, 3)] == [(1, False), (2, False), (3, True)]
    assert after((0, False), (0, True), (0, False)).is_crashing
    assert after((0, False), (0, False), (5, False)).failures == 0


def test_long_run_wipes_out_the_failures_before_it() -> None:
    assert after((0, True), (0, True), (31, True)).failures == 1


def test_what_cannot_be_started_crashes_at_once() -> None:
    assert RestartHistory().ended(RULE, ran=0, reason="no such command", failed=True, not_started=True).is_crashing


def test_crash_is_over_once_the_process_has_run_for_long_enough() -> None:
    history = after((0, True), (0, True), (0, True))
    assert history.runs(RULE, ran=29).is_crashing
    assert history.runs(RULE, ran=30) == RestartHistory(failures=0, restarts=3, reason="why", is_crashing=False)


@given(st.lists(st.tuples(st.sampled_from([0.0, 5.0, 29.0, 30.0, 1000.0]), st.booleans())))
def test_crashing_is_what_a_look_at_all_ends_says(ends: list[tuple[float, bool]]) -> None:
    in_a_row, crashing = 0, False
    for ran, told in ends:
        failed = told or ran < 5
        in_a_row = (1 if ran >= 30 else in_a_row + 1) if failed else 0
        crashing = failed and (in_a_row >= 3 or (crashing and ran < 30))
    history = after(*ends)
    assert (history.failures, history.is_crashing, history.restarts) == (in_a_row, crashing, len(ends))
