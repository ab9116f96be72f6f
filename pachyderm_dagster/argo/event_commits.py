"""Which commits of a branch have finished since somebody looked, requests that were taken among them."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.argo.event_feeds import FeedEvent
from pachyderm_dagster.argo.events import Event
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.finished import LATE, FinishedCommits, Seen, from_microseconds, to_microseconds
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.workspace import Workspace


class _Walked(msgspec.Struct, frozen=True):
    """How far the walk over the commits of a branch has come, in microseconds since 1970.

    Attributes:
        finished: when the newest one that was seen finished.
        seen: the beginnings of the ids of those that finished since `since`, and were seen.
        since: what finished before is not looked at again; 0 in positions of an older release, `LATE` before `finished`.
    """

    finished: int
    seen: tuple[str, ...] = ()
    since: int = 0


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
        with self.workspace.database.read() as txn:
            return _encoded(FinishedCommits(self.branch).begin(txn, self.workspace.database.clock.now()))

    def after(self, position: str, most: int) -> tuple[list[FeedEvent], str]:
        with self.workspace.database.read() as txn:
            news, seen = FinishedCommits(self.branch).after(txn, _decoded(position), most)
            found = {commit.key: commit for commit in commits.list_rows(txn, [one.key for one in news])}
        events = [(one.id, self.event_of(found[one.key])) for one in news]
        return [FeedEvent(id, event) for id, event in events if event is not None], _encoded(seen)

    def find(self, reference: str) -> Event | None:
        try:
            return self.event_of(self.workspace.pfs.inspect_commit(f"{self.branch.repo}@{reference}"))
        except NotFoundError:
            return None


def _encoded(seen: Seen) -> str:
    walked = _Walked(to_microseconds(seen.time), tuple(sorted(map(str, seen.names))), to_microseconds(seen.since))
    return msgspec.json.encode(walked).decode()


def _decoded(position: str) -> Seen:
    walked = msgspec.json.decode(position, type=_Walked)
    time = from_microseconds(walked.finished)
    return Seen(time, from_microseconds(walked.since) if walked.since else time - LATE, frozenset(walked.seen))
