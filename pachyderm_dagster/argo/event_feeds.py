"""What has happened since somebody looked: times that came, commits that finished, requests that were taken."""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pachyderm_dagster.argo.event_sources import CalendarSource
from pachyderm_dagster.argo.event_times import is_excluded, newest_time, zone_of
from pachyderm_dagster.argo.events import Event, Origin, calendar_event
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.finished import list_finished_since
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.workspace import Workspace

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
LATE = dt.timedelta(minutes=2)
"""So long after its time a commit may come to be seen, behind others that are later than it."""


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
    """How far the walk over the commits of a branch has come.

    Attributes:
        finished: when the last one that was seen finished, in microseconds since 1970.
        seen: the beginnings of the ids of those that finished within `LATE` before it, and were seen.
    """

    finished: int
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitFeed:
    """Commits of a branch that finished without an error.

    The time of a commit is set before its files are stored and before the record has it. One that takes longer than another is there after it, with the
    earlier time: what is behind the last time by less than `LATE` is looked at again.

    Attributes:
        event_of: the event that a commit is; None for one that is none, or whose content was given up.
    """

    workspace: Workspace
    branch: BranchName
    event_of: Callable[[Commit], Event | None]

    def begin(self) -> str:
        now = self.workspace.database.clock.now()
        with self.workspace.database.read() as txn:
            there = list_finished_since(txn, self.branch, now - LATE, number=None)
        return _encoded(now, there)

    def after(self, position: str, most: int) -> tuple[list[Happened], str]:
        walked = msgspec.json.decode(position, type=_Walked)
        time = _EPOCH + dt.timedelta(microseconds=walked.finished)
        with self.workspace.database.read() as txn:
            there = list_finished_since(txn, self.branch, time - LATE, number=most + len(walked.seen))
        known = set(walked.seen)
        news = [commit for commit in there if _short(commit) not in known][:most]
        time = max(time, *(_finished(commit) for commit in news), _EPOCH)
        known |= {_short(commit) for commit in news}
        events = [(commit.id, self.event_of(commit)) for commit in news]
        found = [Happened(id, event) for id, event in events if event is not None]
        return found, _encoded(time, [commit for commit in there if _short(commit) in known])

    def find(self, reference: str) -> Event | None:
        try:
            return self.event_of(self.workspace.pfs.inspect_commit(f"{self.branch.repo}@{reference}"))
        except NotFoundError:
            return None


def _finished(commit: Commit) -> dt.datetime:
    assert commit.finished is not None
    return commit.finished


def _short(commit: Commit) -> str:
    return commit.id[:12]


def _encoded(time: dt.datetime, seen: Iterable[Commit]) -> str:
    ids = tuple(_short(commit) for commit in seen if _finished(commit) >= time - LATE)
    return msgspec.json.encode(_Walked((time - _EPOCH) // dt.timedelta(microseconds=1), ids)).decode()
