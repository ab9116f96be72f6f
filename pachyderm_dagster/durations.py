"""Durations as Go writes them (`1h30m`, `90s`), read into seconds and back."""

import re

from pachyderm_dagster.errors import InvalidError

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_LONGEST = 100 * 366 * 24 * 3600
_UNIT = r"(?:h|ms|m|s|us|µs|μs|ns)"
_TERM = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({_UNIT})")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DURATION = re.compile(rf"(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+){_UNIT})+")


def parse_duration(value: str | float) -> float:
    """Seconds of a Go duration, or of a number of seconds: more than nothing, at most a century.

    Raises:
        InvalidError: `duration-invalid`.
    """
    seconds = _from_text(value) if isinstance(value, str) else value
    if not 0 < seconds <= _LONGEST:
        raise InvalidError("duration-invalid", f"{value!r} is no time to wait; a duration is longer than 0 and at most a century, as '1h30m'")
    return float(seconds)


def parse_given_duration(text: str) -> float:
    """Seconds of a duration that stands where everything is text, as on the command line: a number is one of seconds. Errors as `parse_duration`."""
    return parse_duration(float(text) if _is_number(text) else text)


def _is_number(text: str) -> bool:
    """Whether a text is a decimal number."""
    return _NUMBER.fullmatch(text) is not None


def format_duration(seconds: float) -> str:
    """The Go duration of a number of seconds, as short as it can be: `1h30m`, `90ms`, `1m0.5s`."""
    if seconds < 1:
        return f"{seconds * 1000:.9g}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{int(hours)}h" if hours else "", f"{int(minutes)}m" if minutes else "", f"{left:.9g}s" if left else ""]
    return "".join(parts)


def _from_text(text: str) -> float:
    if not _DURATION.fullmatch(text):
        quoted = " without quotes" if _is_number(text) else ""
        raise InvalidError("duration-invalid", f"{text!r} is no duration; write it as '1h30m', '90s' or '500ms', or as a number of seconds{quoted}")
    return sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(text))
