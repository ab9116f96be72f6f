import datetime as dt

import pytest

from pachyderm_dagster.cli.printing import Times, rfc3339, show_duration, show_size, table_lines, to_json
from pachyderm_dagster.pfs.model import Origin

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (58644, "57.27KiB"), (1024**2 * 3 // 2, "1.5MiB"), (1024**4, "1TiB"), (1024**6, "1024PiB")],
)
def test_sizes_are_shown_in_the_largest_unit(size_bytes: int, shown: str) -> None:
    assert show_size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "1 minute"), (7300, "2 hours"), (90_000, "1 day")]
)
def test_durations_are_shown_in_the_largest_unit(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown


def test_times_are_shown_as_how_long_ago_or_in_full() -> None:
    assert Times(full=False, now=NOON).show(NOON - dt.timedelta(minutes=3)) == "3 minutes ago"
    assert Times(full=True, now=NOON).show(NOON - dt.timedelta(minutes=3)) == "2026-01-02T11:57:00Z"
    assert Times(full=True, now=NOON).show(None) == "-"


def test_times_are_in_utc() -> None:
    assert rfc3339(dt.datetime(2026, 1, 2, 13, 0, 0, 500000, tzinfo=dt.timezone(dt.timedelta(hours=1)))) == "2026-01-02T12:00:00.500000Z"


def test_document_is_one_line_of_json() -> None:
    assert to_json({"a": None, "b": NOON, "c": Origin.AUTO, "d": ("ü\n",)}) == '{"a": null, "b": "2026-01-02T12:00:00Z", "c": "AUTO", "d": ["ü\\n"]}'


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    assert list(table_lines(["A", "LONG"], [["wide", "x"], ["y", ""]])) == ["A    LONG", "wide x", "y"]


def test_table_is_printed_before_its_rows_have_ended() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield [str(taken)]

    lines = table_lines(["N"], endless())  # type: ignore[arg-type]
    assert [next(lines) for _ in range(3)] == ["N", "1", "2"]
    assert taken == 1000
