"""When a schedule ticks: a cron input's, a trigger's. All times are UTC, to the second."""

import datetime as dt
import importlib
import re
from collections.abc import Iterator
from typing import Any

from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.errors import InvalidError

NEVER = "@never"
_EVERY = "@every "
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
# croniter takes more (seconds, hashed and random fields, 'L', '#'); a spec with those would mean something else to another cron.
_FIELDS = tuple(re.compile(rf"(?:[0-9*,/?-]|{names})+", re.IGNORECASE) for names in ("[0-9]", "[0-9]", "[0-9]", _MONTHS, _DAYS))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def check_cron(spec: str) -> None:
    """Does nothing when `spec` is a schedule: five fields, `@hourly` and its like, `@every 1h30m`, or `@never`.

    Raises:
        InvalidError: `cron-invalid`.
    """
    next_tick(spec, _EPOCH)


def crontab_of(spec: str) -> str | None:
    """The five fields of cron that say the same; None for `@every`, which counts from the last tick, and `@never`."""
    return None if spec == NEVER or spec.startswith(_EVERY) else _NAMED.get(spec, spec)


def next_tick(spec: str, after: dt.datetime) -> dt.datetime | None:
    """The first tick later than `after`; None when there is none (`@never`). `@every` counts from `after`, which is the last tick or the start.

    Raises:
        InvalidError: `cron-invalid`.
    """
    return next(_schedule(spec, after), None)


def ticks(spec: str, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    """Every tick later than `after` up to and with `until`, one by one: an early start or a long pause may make many.

    Raises:
        InvalidError: `cron-invalid`.
    """
    for tick in _schedule(spec, after):
        if tick > until:
            return
        yield tick


def newest_tick(spec: str, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
    """The last tick later than `after` up to and with `until`, however many there are between; None when there is none.

    Raises:
        InvalidError: `cron-invalid`.
    """
    first = next_tick(spec, after)
    if first is None or first > until:
        return None
    if spec.startswith(_EVERY):
        seconds = _whole_seconds(spec)
        return first + dt.timedelta(seconds=(until - first) // dt.timedelta(seconds=seconds) * seconds)
    following = until.astimezone(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=1)
    previous: dt.datetime = _croniter(_NAMED.get(spec, spec), following).get_prev()
    return previous


def _schedule(spec: str, after: dt.datetime) -> Iterator[dt.datetime]:
    start = after.astimezone(dt.UTC).replace(microsecond=0)
    if spec == NEVER:
        return iter(())
    if spec.startswith(_EVERY):
        return _every(_whole_seconds(spec), start)
    return _fields(spec, start)


def _every(seconds: int, start: dt.datetime) -> Iterator[dt.datetime]:
    while True:
        start += dt.timedelta(seconds=seconds)
        yield start


def _whole_seconds(spec: str) -> int:
    try:
        # A shorter one counts as a second, as in Go's cron.
        return max(1, int(parse_duration(spec.removeprefix(_EVERY).strip())))
    except InvalidError as error:
        raise InvalidError("cron-invalid", f"{spec!r} is no schedule: {error.message}") from error


def _fields(spec: str, start: dt.datetime) -> Iterator[dt.datetime]:
    if spec.startswith("@") and spec not in _NAMED:
        known = ", ".join([*_NAMED, "@every 1h30m", NEVER])
        raise InvalidError("cron-invalid", f"{spec!r} is no schedule; the named ones are {known}")
    text = _NAMED.get(spec, spec)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        number = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise InvalidError("cron-invalid", f"{spec!r} has {number}; a schedule has five: minute, hour, day of month, month, day of week")
    for field, form in zip(fields, _FIELDS, strict=True):
        if not form.fullmatch(field):
            raise InvalidError("cron-invalid", f"{spec!r} is no schedule: {field!r} is no field of cron; a field is as '*', '5', '1-5', '*/10' or '1,15'")
    try:
        schedule = _croniter(text, start)
        schedule.get_next(update_current=False)
    except ValueError as error:  # croniter's own errors are such
        raise InvalidError("cron-invalid", f"{spec!r} is no schedule: {error}") from error
    return iter(schedule.get_next, None)


def _croniter(text: str, start: dt.datetime) -> Any:
    # Imported by name because it takes a while, and most commands only pass by schedules.
    return importlib.import_module("croniter").croniter(text, start, ret_type=dt.datetime)
