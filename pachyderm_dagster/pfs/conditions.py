"""When a trigger fires: its conditions, and whether a new commit meets them."""

import datetime as dt
import re
from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import Trigger
from pachyderm_dagster.schedules import check_cron, next_tick

_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[kmgtp]?)(?P<binary>i?)b?", re.IGNORECASE | re.ASCII)
# What the record holds.
_MOST_COMMITS = 2**31 - 1
_UNITS = ("", "k", "m", "g", "t", "p")


@dataclass(frozen=True, slots=True)
class Step:
    """From the head of a triggered branch to a new commit of its source.

    Attributes:
        growth: bytes that there are more.
        commits: how many commits there are between, the new one among them.
        before: when the head was finished; None when there is none, or an open one.
        now: when the new commit was finished.
    """

    growth: int
    commits: int
    before: dt.datetime | None
    now: dt.datetime


def check_trigger(trigger: Trigger) -> None:
    """Does nothing when every condition can be read.

    Raises:
        InvalidError: `trigger-invalid`.
    """
    if trigger.size:
        parse_size(trigger.size)
    if not 0 <= trigger.commits <= _MOST_COMMITS:
        raise InvalidError("trigger-invalid", f"a trigger waits for a number of commits, from 1 to {_MOST_COMMITS:,}, not for {trigger.commits}")
    for name, spec in (("cron_spec", trigger.cron_spec), ("rate_limit_spec", trigger.rate_limit_spec)):
        if spec:
            try:
                check_cron(spec)
            except InvalidError as error:
                raise InvalidError("trigger-invalid", f"{name} of the trigger on '{trigger.branch}': {error.message}") from error


def fires(trigger: Trigger, step: Step) -> bool:
    """Whether a finished commit moves the triggered branch. A `cron_spec` leaves it to the clock; with no condition only `all` does."""
    if trigger.cron_spec:
        return False
    met = []
    if trigger.size:
        met.append(step.growth >= parse_size(trigger.size))
    if trigger.commits:
        met.append(step.commits >= trigger.commits)
    if trigger.rate_limit_spec:
        met.append(step.before is None or _is_past(next_tick(trigger.rate_limit_spec, step.before), step.now))
    return all(met) if trigger.all else any(met)


def parse_size(text: str) -> int:
    """A number of bytes: `100M` is 100,000,000, `1KiB` is 1024.

    Raises:
        InvalidError: `trigger-invalid`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match["binary"] and not match["unit"]):
        raise InvalidError("trigger-invalid", f"{text!r} is no size; write 500, 1K, 100M, 2.5GB or 1GiB")
    factor = (1024 if match["binary"] else 1000) ** _UNITS.index(match["unit"].lower())
    return int(float(match["number"]) * factor) if "." in match["number"] else int(match["number"]) * factor


def _is_past(tick: dt.datetime | None, now: dt.datetime) -> bool:
    return tick is not None and tick < now
