"""Following the commits of a repo or branch as they are finished."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.references import Reference


@dataclass(frozen=True, slots=True)
class Position:
    """How far a subscription is; it grows with the branches, not with the commits.

    Attributes:
        after: row of a commit; those up to it are known.
        ahead: by branch, the row up to which its commits are known where that is further, because another branch is held up.
    """

    after: int = 0
    ahead: Mapping[str | None, int] = field(default_factory=dict)


def take(txn: Transaction, at: Reference, position: Position) -> tuple[list[Commit], Position]:
    """The commits that are finished and not yet known, oldest first, and the position behind them. One that is open holds up those after it on its branch.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    newer = sa.select(t.commit.c.id).where(t.commit.c.repo_id == repos.get_repo(txn, at.repo), t.commit.c.id > position.after)
    listed = [commit for commit in commits.list_rows(txn, newer)[::-1] if at.ref in (None, commit.branch)]
    known = dict(position.ahead)
    held_up: dict[str | None, int] = {}
    finished = []
    for commit in listed:
        if commit.finished is None:
            held_up.setdefault(commit.branch, commit.key)
        elif commit.branch not in held_up and commit.key > known.get(commit.branch, position.after):
            known[commit.branch] = commit.key
            finished.append(commit)
    after = min(held_up.values()) - 1 if held_up else max((commit.key for commit in listed), default=position.after)
    return finished, Position(after, {branch: row for branch, row in known.items() if row > after})
