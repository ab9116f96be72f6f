import datetime as dt

import pytest

from pachyderm_dagster.cli.printing import Times, rfc3339, show_duration, show_size, table_lines, to_json
from pachyderm_dagster.pfs.model import Origin
from tests.cli.pachctl import Pachctl

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


def test_what_controls_a_terminal_is_shown_and_not_sent(pachctl: Pachctl) -> None:
    text = "a\x1b[31mb\nc\u202ed\x9b"
    shown = r"a\x1b[31mb\nc\u202ed\x9b"
    pachctl("create", "repo", "data", "-d", text)
    pachctl("edit", "metadata", "repo", "data", "add", f"key={text}")
    pachctl("put", "file", "data@master:/a", "-m", text)
    pachctl("start", "transaction")
    pachctl("create", "repo", "more", "-d", text)
    for words in (
        ("list", "repo"),
        ("inspect", "repo", "data"),
        ("list", "commit", "data"),
        ("inspect", "commit", "data@master"),
        ("inspect", "transaction"),
    ):
        printed = pachctl(*words).out
        assert "\x1b" not in printed
        assert "\u202e" not in printed
    assert f"Metadata: key={shown}\n" in pachctl("inspect", "repo", "data").out
    assert "\x1b" not in pachctl("draw", "commit", "data").out
    assert pachctl.json("inspect", "repo", "data")[0]["description"] == text


def test_long_description_is_cut_in_a_table_only(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data", "-d", "x" * 5000)
    assert pachctl("list", "repo").out.splitlines()[1].endswith(f" {'x' * 99}…")
    assert f"Description: {'x' * 5000}\n" in pachctl("inspect", "repo", "data").out
