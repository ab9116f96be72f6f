"""What is removed behind runs."""

import pytest

from pachyderm_dagster.executors.removals import Removals


def fail() -> None:
    raise ZeroDivisionError("a fault of the program")


def test_what_fails_is_told_and_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    remove = Removals()
    remove(fail)
    remove(lambda: done.append("behind it"))
    remove.close()
    remove(fail)
    remove(lambda: done.append("after the end"))
    assert done == ["behind it", "after the end"]
    assert caplog.text.count("ZeroDivisionError: a fault of the program") == 2
