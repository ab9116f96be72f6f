"""What has happened since somebody looked: times that came, commits that finished, requests that were taken."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pachyderm_dagster.argo.event_sources import CalendarSource
from pachyderm_dagster.argo.event_times import is_excluded, newest_time, zone_of
from pachyderm_dagster.argo.events import Event, Origin, calendar_event
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.finished import list_finished_after
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.workspace import Workspace

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, and a short text by which its feed finds it again."""

    reference: str
    event: Event


class Feed(Protocol):
    """The events of one source, in their order. Positions are texts that only the feed reads."""

    def begin(self) -> str:
        """The position behind all that has happened."""
        ...

    def after(self, position: str, most: int) -> tuple[list[Happened], str]:
        """What happened behind a position, at most so much, and the position behind that."""
        ...

    def find(self, reference: str) -> Event | None:
        """An event again; None when what it was of has been removed."""
        ...


@dataclass(frozen=True, slots=True)
class CalendarFeed:
    """Times. Of several that came since somebody looked there is the newest."""

    origin: Origin
    calendar: CalendarSource
    clock: Clock

    def begin(self) -> str:
        return self.clock.now().isoformat()

    def after(self, position: str, most: int) -> tuple[list[Happened], str]:
        time = newest_time(self.calendar, dt.datetime.fromisoformat(position), self.clock.now())
        if time is None:
            return [], position
        reference = time.isoformat()
        return [] if is_excluded(self.calendar, time) else [Happened(reference, self._event(time))][:most], reference

    def find(self, reference: str) -> Event | None:
        return self._event(dt.datetime.fromisoformat(reference))

    def _event(self, time: dt.datetime) -> Event:
        return calendar_event(self.origin, time, zone_of(self.calendar), self.calendar.metadata)


class _Walked(msgspec.Struct, frozen=True):
    """How far the walk over the commits of a project has come: when the last one finished, in microseconds since 1970, and its row."""

    finished: int
    key: int = 0


@dataclass(frozen=True, slots=True)
class CommitFeed:
    """Commits of a branch that finished without an error.

    Attributes:
        event_of: the event that a commit is; None for one that is none, or whose content was given up.
    """

    workspace: Workspace
    branch: BranchName
    event_of: Callable[[Commit], Event | None]

    def begin(self) -> str:
        return _encoded(_Walked((self.workspace.database.clock.now() - _EPOCH) // dt.timedelta(microseconds=1)))

    def after(self, position: str, most: int) -> tuple[list[Happened], str]:
        walked = msgspec.json.decode(position, type=_Walked)
        time = _EPOCH + dt.timedelta(microseconds=walked.finished)
        with self.workspace.database.read() as txn:
            found = list_finished_after(txn, self.branch.repo.project, time, walked.key, number=most)
        if found and found[-1].finished is not None:
            walked = _Walked((found[-1].finished - _EPOCH) // dt.timedelta(microseconds=1), found[-1].key)
        own = [commit for commit in found if (commit.repo, commit.branch) == (self.branch.repo, self.branch.name)]
        events = [(commit.id, self.event_of(commit)) for commit in own]
        return [Happened(id, event) for id, event in events if event is not None], _encoded(walked)

    def find(self, reference: str) -> Event | None:
        try:
            return self.event_of(self.workspace.pfs.inspect_commit(f"{self.branch.repo}@{reference}"))
        except NotFoundError:
            return None


def _encoded(walked: _Walked) -> str:
    return msgspec.json.encode(walked).decode()
