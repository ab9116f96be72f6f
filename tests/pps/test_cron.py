import datetime as dt
import itertools

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.cron import tick_name
from pachyderm_dagster.schedules import check_cron, next_tick, ticks


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("spec", "after", "tick"),
    [
        ("*/10 * * * *", "2026-01-31T23:55:00Z", "2026-02-01T00:00:00Z"),
        ("0 9 * * mon-fri", "2026-01-02T10:00:00Z", "2026-01-05T09:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("@every 1h30m", "2026-01-01T00:00:10Z", "2026-01-01T01:30:10Z"),
        ("@every 10ms", "2026-01-01T00:00:10Z", "2026-01-01T00:00:11Z"),
        ("@daily", "2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_next_tick_is_the_first_after_the_given_time(spec: str, after: str, tick: str) -> None:
    assert next_tick(spec, at(after)) == at(tick)


def test_never_has_no_tick() -> None:
    check_cron("@never")
    assert next_tick("@never", at("2026-01-01T00:00:00Z")) is None
    assert list(ticks("@never", at("2026-01-01T00:00:00Z"), at("2126-01-01T00:00:00Z"))) == []


def test_missed_ticks_are_caught_up_one_by_one() -> None:
    found = ticks("@daily", at("2026-01-01T00:00:00Z"), at("2026-01-04T00:00:00Z"))
    assert [tick_name(tick) for tick in found] == ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"]


def test_tick_of_an_early_year_has_four_digits() -> None:
    assert tick_name(dt.datetime(1, 1, 1, 0, 0, 20, 999_999, tzinfo=dt.UTC)) == "0001-01-01T00:00:20Z"


def test_every_counts_on_from_its_own_ticks() -> None:
    found = ticks("@every 1h", at("2026-01-01T00:20:00.75Z"), at("2026-01-01T03:00:00Z"))
    assert [tick_name(tick) for tick in found] == ["2026-01-01T01:20:00Z", "2026-01-01T02:20:00Z"]


def test_no_tick_is_due_before_the_next() -> None:
    assert list(ticks("@hourly", at("2026-01-01T00:00:00Z"), at("2026-01-01T00:59:59Z"))) == []


def test_many_missed_ticks_come_lazily() -> None:
    found = ticks("@every 1s", at("1970-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"))
    assert [tick_name(tick) for tick in itertools.islice(found, 2)] == ["1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"]


def test_tick_name_is_in_utc() -> None:
    assert tick_name(at("2026-01-01T01:30:00+02:00")) == "2025-12-31T23:30:00Z"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "*/0 * * * *",
        "0 0 31 2 *",
        "@reboot",
        "@every",
        "@every x",
        "@every -1h",
        "@every 99999999h",
        "H * * * *",
        "0 0 L * *",
        "* * * * fri#1",
    ],
)
def test_what_is_no_schedule_is_refused(spec: str) -> None:
    with pytest.raises(InvalidError, match=r"\[cron-invalid\]"):
        check_cron(spec)
