import pytest

from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.retrying import decide
from pachyderm_dagster.argo.templates import Backoff, RetryStrategy


def wait(strategy: RetryStrategy, *, attempts: int = 1, phase: Phase = Phase.FAILED, message: str = "", seconds: float = 0, holds: bool = True) -> float | None:
    return decide(strategy, attempts=attempts, phase=phase, message=message, seconds_since_first=seconds, expression_holds=holds).wait_seconds


def test_limit_counts_attempts_beyond_the_first() -> None:
    strategy = RetryStrategy(limit="2")
    assert [wait(strategy, attempts=attempts) for attempts in (1, 2, 3)] == [0, 0, None]
    assert wait(RetryStrategy(), attempts=1000) == 0


@pytest.mark.parametrize(
    ("policy", "expression", "phases"),
    [
        ("", "", {Phase.FAILED}),
        ("", "x", {Phase.FAILED, Phase.ERROR}),
        ("OnFailure", "", {Phase.FAILED}),
        ("OnError", "", {Phase.ERROR}),
        ("Always", "", {Phase.FAILED, Phase.ERROR}),
    ],
)
def test_policies_choose_phases(policy: str, expression: str, phases: set[Phase]) -> None:
    strategy = RetryStrategy(retry_policy=policy, expression=expression)
    assert {phase for phase in (Phase.FAILED, Phase.ERROR) if wait(strategy, phase=phase) is not None} == phases


def test_transient_errors_are_told_by_their_message() -> None:
    strategy = RetryStrategy(retry_policy="OnTransientError")
    assert wait(strategy, message="i/o timeout") == 0
    assert wait(strategy, message="exit code 1") is None


def test_waits_grow_up_to_their_cap_and_end_with_the_longest_time() -> None:
    strategy = RetryStrategy(backoff=Backoff(duration="10", factor="2", cap="1m", max_duration="5m"))
    assert [wait(strategy, attempts=attempts) for attempts in (1, 2, 3, 4, 5)] == [10, 20, 40, 60, 60]
    assert wait(strategy, attempts=5, seconds=239) == 60
    assert wait(strategy, attempts=5, seconds=241) is None


def test_an_expression_that_is_false_ends_it() -> None:
    assert wait(RetryStrategy(expression="x"), holds=False) is None
