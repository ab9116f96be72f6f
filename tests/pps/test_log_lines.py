"""Lines of logs, with times, interleaved."""

import datetime as dt
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import log_lines
from pachyderm_dagster.pps.log_lines import LogLine, SaidDatum, cut_lines, interleave
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.pps.results import DatumDetails

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
JOB = Job(1, "a" * 32, RepoName("default", "work"), 1, JobState.SUCCESS, "", START, START, START, Counters(), 0, None, 1, 2)


def after(milliseconds: int) -> dt.datetime:
    return START + dt.timedelta(milliseconds=milliseconds)


def test_lines_have_the_time_of_the_mark_before_them() -> None:
    text = b"one\ntwo\r\nthree\nfour"
    marks = ((0, 5), (9, 100))
    assert list(cut_lines(text, START, marks)) == [("one", after(5), 4), ("two", after(5), 9), ("three", after(100), 15), ("four", after(100), 19)]
    assert list(cut_lines(text, START, marks, 9)) == [("three", after(100), 15), ("four", after(100), 19)]
    assert list(cut_lines(text, START, (), 15)) == [("four", START, 19)]
    assert list(cut_lines(b"", START, ())) == []


@given(st.binary(max_size=60).map(lambda text: text.replace(b"\r", b"")), st.integers(0, 60))
def test_lines_put_together_are_the_output(text: bytes, start: int) -> None:
    expected = text[start:].split(b"\n")
    expected = expected[:-1] if not expected[-1] else expected
    assert [line for line, _, _ in cut_lines(text, START, (), start)] == [line.decode(errors="replace") for line in expected]


def said(number: int, start: int, times: list[int]) -> SaidDatum:
    def lines() -> Iterator[LogLine]:
        for place, time in enumerate(times):
            yield LogLine(JOB.pipeline, str(JOB), str(number), DatumDetails(inputs=()), f"{number}.{place}", after(time), place)

    return SaidDatum(after(start), lines)


Printed = st.lists(st.lists(st.integers(0, 20), max_size=4).map(sorted), max_size=6)


@given(Printed)
def test_datums_are_interleaved_by_time_and_keep_their_own_order(printed: list[list[int]]) -> None:
    datums = [said(number, min(times, default=0), times) for number, times in enumerate(printed)]
    found = [line.text for line in interleave(datums)]
    slow = sorted((time, number, place) for number, times in enumerate(printed) for place, time in enumerate(times))
    times = {f"{number}.{place}": time for time, number, place in slow}
    assert sorted(found) == sorted(times)
    assert [times[text] for text in found] == [time for time, _, _ in slow]
    for number in range(len(printed)):
        assert [text for text in found if text.startswith(f"{number}.")] == [f"{number}.{place}" for place in range(len(printed[number]))]


def test_more_datums_than_a_window_come_window_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "WINDOW", 2)
    assert [line.text for line in interleave([said(0, 9, [9]), said(1, 1, [1]), said(2, 0, [0])])] == ["1.0", "0.0", "2.0"]
