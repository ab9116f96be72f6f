"""Which commits of a branch have finished since somebody looked, requests that were taken among them."""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.argo.event_feeds import Happened
from pachyderm_dagster.argo.events import Event
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.finished import list_finished_since
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.workspace import Workspace

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
LATE = dt.timedelta(minutes=2)
"""So long after its time a commit may come to be seen, behind others that are later than it."""


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
