import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.durations import format_duration, parse_duration, parse_given_duration
from pachyderm_dagster.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1m0.5s", 60.5),
        ("2h45m30s", 9930),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        (".5s", 0.5),
        (90, 90),
        (0.25, 0.25),
    ],
)
def test_duration_is_read_as_go_reads_it(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("1.5", 1.5), ("90s", 90)])
def test_number_is_one_of_seconds_where_everything_is_text(text: str, seconds: float) -> None:
    assert parse_given_duration(text) == seconds


def test_quotes_are_spoken_of_only_where_they_are_wrong() -> None:
    with pytest.raises(InvalidError, match="or as a number of seconds without quotes "):
        parse_duration("60")
    with pytest.raises(InvalidError, match="or as a number of seconds "):
        parse_given_duration("soon")


@pytest.mark.parametrize("text", ["", "90", "s", "1d", "1h 30m", "-5s", "0s", "1e3s", "1h30", "٣s", 0, -1, float("nan"), float("inf"), 10**400, "999999999h"])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(InvalidError, match=r"\[duration-invalid\]"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(5400, "1h30m"), (90, "1m30s"), (3600, "1h"), (60.5, "1m0.5s"), (0.5, "500ms"), (3601, "1h1s")])
def test_duration_is_written_as_short_as_it_can_be(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0.001, 1e8))
def test_written_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-6)
