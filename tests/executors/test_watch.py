"""A failing check ends the work that it watches."""

import threading

import pytest

from pachyderm_dagster.executors.watch import Watch, going_on


class Refused(Exception):
    """What the check of these tests raises."""


def refuse() -> None:
    raise Refused


def test_failing_check_stops_the_work_and_is_raised_by_the_block() -> None:
    stopped = threading.Event()
    with pytest.raises(Refused), Watch(refuse, stopped.set, 0.001):
        assert stopped.wait(30)


def test_interrupt_is_not_replaced_by_what_the_check_found() -> None:
    stopped = threading.Event()

    def work() -> None:
        with Watch(refuse, stopped.set, 0.001):
            stopped.wait(30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def test_work_that_raises_is_stopped() -> None:
    stops: list[str] = []
    with pytest.raises(ValueError, match="ours"), Watch(lambda: None, lambda: stops.append("stop"), 60):
        raise ValueError("ours")
    assert stops == ["stop"]


def test_check_that_goes_on_is_called_again_after_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    calls, third = list[int](), threading.Event()

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            third.set()
        raise ZeroDivisionError

    with Watch(going_on(check), lambda: None, 0.001):
        assert third.wait(60)
    assert "ZeroDivisionError" in caplog.text


def test_what_fails_in_the_same_way_again_and_again_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    problems: list[Exception | None] = [ValueError("a"), ValueError("a"), ValueError("b"), None, ValueError("b"), ValueError("b")]

    def check() -> None:
        problem = problems.pop(0)
        if problem is not None:
            raise problem

    checked = going_on(check)
    while problems:
        checked()
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [("a",), ("b",), ("b",)]
