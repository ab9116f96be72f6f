"""When the clock makes the events of an EventSource."""

import datetime as dt
import zoneinfo

from pachyderm_dagster.argo.event_sources import CalendarSource
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.schedules import newest_tick

_EXCLUDED, _DATE = "EXDATE:", "%Y%m%dT%H%M%SZ"


def schedule_of(calendar: CalendarSource) -> str:
    """The schedule, as `schedules` has one."""
    return calendar.schedule or f"@every {calendar.interval}"


def zone_of(calendar: CalendarSource) -> dt.tzinfo:
    """Its timezone.

    Raises:
        InvalidError: `timezone-invalid`.
    """
    if calendar.timezone in ("", "UTC"):
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(calendar.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidError("timezone-invalid", f"{calendar.timezone!r} is no timezone; write it as 'Europe/Berlin'") from error


def excluded_days(calendar: CalendarSource) -> set[dt.date]:
    """The days on which there is no event.

    Raises:
        InvalidError: `event-time-invalid`.
    """
    return {_day(text, given) for given in calendar.exclusion_dates for text in given.removeprefix(_EXCLUDED).split(",")}


def _day(text: str, given: str) -> dt.date:
    try:
        if given.startswith(_EXCLUDED):
            return dt.datetime.strptime(text, _DATE).replace(tzinfo=dt.UTC).date()
    except ValueError:
        pass
    raise InvalidError("event-time-invalid", f"{given!r} is no day; write it as 'EXDATE:20260131T000000Z'")


def is_excluded(calendar: CalendarSource, time: dt.datetime) -> bool:
    """Whether it is on a day without events, in the calendar's timezone."""
    return time.astimezone(zone_of(calendar)).date() in excluded_days(calendar)


def newest_time(calendar: CalendarSource, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
    """The last time later than `after` up to and with `until`; None when there is none."""
    if not calendar.schedule:
        return newest_tick(schedule_of(calendar), after, until)
    zone = zone_of(calendar)
    # Cron counts on the clock of the wall, whose hours are not all as long.
    found = newest_tick(calendar.schedule, _on_the_wall(after, zone), _on_the_wall(until, zone))
    return None if found is None else found.replace(tzinfo=zone).astimezone(dt.UTC)


def _on_the_wall(time: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return time.astimezone(zone).replace(tzinfo=dt.UTC)
