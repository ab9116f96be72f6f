"""Which times of a calendar came since somebody looked."""

import datetime as dt
from dataclasses import dataclass

from pachyderm_dagster.argo.event_feeds import FeedEvent
from pachyderm_dagster.argo.event_sources import CalendarSource
from pachyderm_dagster.argo.event_times import is_excluded, newest_time, zone_of
from pachyderm_dagster.argo.events import Event, Origin, calendar_event
from pachyderm_dagster.clock import Clock


@dataclass(frozen=True, slots=True)
class CalendarFeed:
    """Times. Of several that came since somebody looked there is the newest."""

    origin: Origin
    calendar: CalendarSource
    clock: Clock

    def begin(self) -> str:
        return self.clock.now().isoformat()

    def after(self, position: str, most: int) -> tuple[list[FeedEvent], str]:
        time = newest_time(self.calendar, dt.datetime.fromisoformat(position), self.clock.now())
        if time is None:
            return [], position
        reference = time.isoformat()
        return [] if is_excluded(self.calendar, time) else [FeedEvent(reference, self._event(time))][:most], reference

    def find(self, reference: str) -> Event | None:
        return self._event(dt.datetime.fromisoformat(reference))

    def _event(self, time: dt.datetime) -> Event:
        return calendar_event(self.origin, time, zone_of(self.calendar), self.calendar.metadata)
