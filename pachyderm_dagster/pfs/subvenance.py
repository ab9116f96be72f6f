"""What commits and branches were made from, and what was made from them, however far."""

from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits
from pachyderm_dagster.pfs.model import BranchName, Commit

MOST_STEPS = 1000
MOST_RESULTS = 10_000


def list_subvenance(txn: Transaction, commit_id: int) -> list[Commit]:
    """Every commit that was made from this one, directly or not, newest first."""
    return commits.list_rows(txn, _commits(commit_id, downwards=True, depth=None))


def walk_commits(txn: Transaction, commit_id: int, *, downwards: bool, depth: int = MOST_STEPS) -> list[Commit]:
    """The commits that this one was made from, or with `downwards` those made from it, newest first: at most `MOST_RESULTS`.

    Args:
        depth: at most so many steps away.
    """
    return commits.list_rows(txn, _commits(commit_id, downwards=downwards, depth=depth), number=MOST_RESULTS)


def walk_branches(txn: Transaction, branch_id: int, *, downwards: bool, depth: int = MOST_STEPS) -> list[BranchName]:
    """The branches that this one is made from, or with `downwards` those made from it, nearest first. As `walk_commits`."""
    edges = t.branch_provenance.c
    found: dict[int, None] = {}
    frontier = [branch_id]
    for _ in range(depth):
        near, far = (edges.upstream_id, edges.branch_id) if downwards else (edges.branch_id, edges.upstream_id)
        rows = txn.all(sa.select(far.label("id")).distinct().where(near.in_(frontier)).order_by(far))
        frontier = [row.id for row in rows if row.id not in found]
        found.update(dict.fromkeys(frontier))
        if not frontier:
            break
    return [branches.branch_name(txn, key) for key in list(found)[:MOST_RESULTS]]


def _commits(commit_id: int, *, downwards: bool, depth: int | None) -> sa.Select[Any]:
    edges = t.commit_provenance.c
    near, far = (edges.upstream_id, edges.commit_id) if downwards else (edges.commit_id, edges.upstream_id)
    if depth is None:
        found = sa.select(far.label("id")).where(near == commit_id).cte(recursive=True)
        found = found.union(sa.select(far).where(near == found.c.id))
    else:
        found = sa.select(far.label("id"), sa.literal(1).label("depth")).where(near == commit_id).cte(recursive=True)
        found = found.union(sa.select(far, found.c.depth + 1).where(near == found.c.id, found.c.depth < depth))
    return sa.select(found.c.id)
