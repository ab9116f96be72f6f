"""Which commits of a project, or of a branch, have finished since somebody looked, in the order in which they finished.

The time of a commit is set before its files are stored and before the record has it. One that takes longer than another is there after it, with the earlier
time: what is behind the newest time by less than `LATE` is looked at again.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import BranchName, RepoType

LATE = dt.timedelta(minutes=2)
"""So long after its time a commit may come to be seen, behind others that are later than it."""
MOST_SEEN = 1000
"""So many of the commits that were seen are kept in mind. Where more finished within `LATE`, one that comes behind so many others is not seen."""
_STEP = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


def to_microseconds(time: dt.datetime) -> int:
    """Since 1970, as walks keep their times."""
    return (time - _EPOCH) // _STEP


def from_microseconds(number: int) -> dt.datetime:
    """The time that `to_microseconds` gave as a number."""
    return _EPOCH + number * _STEP


class Finished(NamedTuple):
    """A commit that finished."""

    key: int
    """Its row."""
    id: str
    time: dt.datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a walk over finished commits has come.

    Args:
        time: the newest one that was seen.
        since: what finished before is not looked at again.
        names: what the walk calls those that finished since then and were seen.
    """

    time: dt.datetime
    since: dt.datetime
    names: frozenset[int | str] = frozenset()


@dataclass(frozen=True, slots=True)
class FinishedCommits:
    """The commits of a project that finished without an error, those of user repos, or of a branch.

    A walk calls those of a branch by the beginnings of their ids, and those of a project, of which several may have one id, by their rows.
    """

    place: BranchName | str

    def begin(self, txn: Transaction, now: dt.datetime) -> Seen:
        """A walk that begins behind what is there."""
        return self._seen(self._list(txn, now - LATE, None), Seen(now, now - LATE), now)

    def after(self, txn: Transaction, seen: Seen, most: int) -> tuple[list[Finished], Seen]:
        """At most so many that a walk has not seen, and where it is then."""
        limit = most + len(seen.names)
        there = self._list(txn, seen.since, limit)
        news = [one for one in there if self._name(one) not in seen.names][:most]
        if not news:
            return [], seen
        known = seen.names.union(map(self._name, news))
        walked = [one for one in there if self._name(one) in known]
        found = self._seen(walked, seen, max(seen.time, news[-1].time))
        # Those that lie behind what was looked at now.
        behind = seen.names.difference(map(self._name, there)) if len(there) == limit else frozenset()
        return news, Seen(found.time, found.since, found.names | behind)

    def _seen(self, walked: Sequence[Finished], before: Seen, time: dt.datetime) -> Seen:
        since = max(before.since, time - LATE)
        if len(walked) > MOST_SEEN:
            since = max(since, walked[-MOST_SEEN - 1].time + _STEP)
        return Seen(time, since, frozenset(self._name(one) for one in walked if one.time >= since))

    def _name(self, one: Finished) -> int | str:
        return one.id[:12] if isinstance(self.place, BranchName) else one.key

    def _list(self, txn: Transaction, time: dt.datetime, number: int | None) -> list[Finished]:
        """Those that finished at `time` or later, at most so many; of those that share a time the lower row first."""
        chosen = sa.select(t.commit.c.id, t.commit.c.set_id, t.commit.c.finished).join_from(t.commit, t.repo).join(t.project)
        if isinstance(self.place, BranchName):
            repo = self.place.repo
            chosen = chosen.where(
                t.project.c.name == repo.project, t.repo.c.name == repo.name, t.repo.c.type == repo.type, t.commit.c.branch_name == self.place.name
            )
        else:
            chosen = chosen.where(t.project.c.name == self.place, t.repo.c.type == RepoType.USER)
        chosen = chosen.where(t.commit.c.error.is_(None), t.commit.c.finished >= time).order_by(t.commit.c.finished, t.commit.c.id)
        return [Finished(row.id, row.set_id, row.finished) for row in txn.all(chosen.limit(number))]
