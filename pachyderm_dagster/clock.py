"""Time and new ids, so that tests own both."""

import datetime as dt
import os
import uuid
from typing import Protocol


class Clock(Protocol):
    """Where the time and new ids come from."""

    def now(self) -> dt.datetime:
        """The current time, in UTC."""
        ...

    def new_id(self) -> str:
        """32 lower-case hex digits: a UUIDv4 without dashes, as Pachyderm's ids are."""
        ...


class SystemClock:
    """The machine's clock and random source."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def new_id(self) -> str:
        return uuid.UUID(bytes=os.urandom(16), version=4).hex


class ManualClock:
    """A clock that moves only when told, with ids that count up: for tests.

    `new_id` keeps the form of a UUIDv4 (13th digit `4`, 17th `8`).
    """

    def __init__(self, start: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) -> None:
        self._now = start
        self._ids = 0

    def now(self) -> dt.datetime:
        return self._now

    def advance(self, delta: dt.timedelta) -> None:
        """Moves the time forward by `delta`."""
        self._now += delta

    def new_id(self) -> str:
        self._ids += 1
        return uuid.UUID(int=self._ids, version=4).hex
