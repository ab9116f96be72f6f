"""Times as Go and Argo write them: layouts like `2006-01-02`, RFC 3339, and the letters of strftime."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

_LAYOUT = {
    "2006": "%Y",
    "January": "%B",
    "Monday": "%A",
    "-07:00": "%:z",
    "Z07:00": "%:z",
    "-0700": "%z",
    "Jan": "%b",
    "Mon": "%a",
    "MST": "%Z",
    "01": "%m",
    "02": "%d",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "15": "%H",
    "PM": "%p",
    "_2": "%e",
    "1": "%-m",
    "2": "%-d",
    "3": "%-I",
}
_OF_TIMES: Mapping[str, Callable[[dt.datetime], int]] = {
    "Unix": lambda time: int(time.timestamp()),
    "Year": lambda time: time.year,
    "Month": lambda time: time.month,
    "Day": lambda time: time.day,
    "Hour": lambda time: time.hour,
    "Minute": lambda time: time.minute,
    "Second": lambda time: time.second,
    # Sunday is 0.
    "Weekday": lambda time: time.isoweekday() % 7,
    "YearDay": lambda time: time.timetuple().tm_yday,
}
_OF_DURATIONS = {"Hours": 3600.0, "Minutes": 60.0, "Seconds": 1.0}
_PARTS = re.compile("|".join(map(re.escape, _LAYOUT)))


def format_go(layout: str, time: dt.datetime) -> str:
    """The time, in UTC, in a layout of Go."""
    return _PARTS.sub(lambda found: _part(found[0], time.astimezone(dt.UTC)), layout)


def _part(part: str, time: dt.datetime) -> str:
    if part == "Z07:00":
        return "Z"
    return "+00:00" if part == "-07:00" else time.strftime(_LAYOUT[part])


def rfc3339(time: dt.datetime) -> str:
    """The time in UTC, to the second: `2026-01-31T09:00:00Z`."""
    return f"{time.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def timestamp_variables(name: str, time: dt.datetime) -> dict[str, str]:
    """What tags say of a time: as Go prints it, `.RFC3339`, `.s` since 1970, and a letter of strftime each."""
    time = time.astimezone(dt.UTC)
    letters = {f"{name}.{letter}": time.strftime(f"%{letter}") for letter in "BbmAadeYyHIlMpSZzjFTRD"}
    return {name: f"{time:%Y-%m-%d %H:%M:%S} +0000 UTC", f"{name}.RFC3339": rfc3339(time), **letters, f"{name}.s": str(int(time.timestamp()))}


def method_of(value: dt.datetime | dt.timedelta, name: str) -> Callable[[], Any]:
    """What expressions may call of a time (`Hour`, `Unix`) or of the time between two (`Seconds`).

    Raises:
        AttributeError: for another name.
    """
    if isinstance(value, dt.timedelta):
        if name in _OF_DURATIONS:
            return lambda: value.total_seconds() / _OF_DURATIONS[name]
        raise AttributeError(f"{name!r} is asked of a duration, which has {', '.join(_OF_DURATIONS)}")
    if name in _OF_TIMES:
        return lambda: _OF_TIMES[name](value)
    raise AttributeError(f"{name!r} is asked of a time, which has {', '.join(_OF_TIMES)}")
