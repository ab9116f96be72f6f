"""What a cron input's tick is called."""

import datetime as dt


def tick_name(tick: dt.datetime) -> str:
    """The name of the tick's file: RFC 3339 in UTC, as `2026-01-01T00:00:00Z`."""
    return tick.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
