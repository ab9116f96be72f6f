"""What branches are made from: the edges between them, stored one by one, and what follows from these."""

import functools
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoType

Edges = dict[int, set[int]]


def upstream_ids(txn: Transaction, branch_id: int) -> set[int]:
    """The branches that this one is made from, directly."""
    return {row.upstream_id for row in txn.all(sa.select(t.branch_provenance.c.upstream_id).where(t.branch_provenance.c.branch_id == branch_id))}


def replace_upstream(txn: Transaction, branch_id: int, sources: Iterable[int], *, never: Collection[int] = ()) -> None:
    """Sets the direct provenance of a branch; commits on those in `never` make none on it."""
    txn.run(sa.delete(t.branch_provenance).where(t.branch_provenance.c.branch_id == branch_id))
    for source in dict.fromkeys(sources):
        txn.run(sa.insert(t.branch_provenance).values(branch_id=branch_id, upstream_id=source, never=source in never))


def all_edges(txn: Transaction, *, include_never: bool = True) -> Edges:
    """For every branch with provenance, the branches it is made from, directly."""
    edges: Edges = {}
    for row in txn.all(_edges()):
        if include_never or not row.never:
            edges.setdefault(row.branch_id, set()).add(row.upstream_id)
    return edges


def upstream_closure(edges: Edges, branch_id: int) -> set[int]:
    """Everything that a branch is made from, however far."""
    return _reachable(edges, [branch_id])


def downstream_closure(edges: Edges, branch_ids: Iterable[int]) -> set[int]:
    """Everything that is made from one of these branches, however far."""
    readers: Edges = {}
    for below, sources in edges.items():
        for source in sources:
            readers.setdefault(source, set()).add(below)
    return _reachable(readers, branch_ids)


def find_twins(txn: Transaction, branch_id: int) -> tuple[int, int] | None:
    """Two branches of one repo of which one is made from the other, through this branch: the lower and the upper one.

    A repo has one commit in a commit set, so no change may reach both.
    """
    edges = all_edges(txn)
    repo_of = _repos(txn)
    for below in sorted({branch_id} | downstream_closure(edges, [branch_id])):
        twin = next((source for source in upstream_closure(edges, below) if repo_of[source] == repo_of[below]), None)
        if twin is not None:
            return below, twin
    return None


def find_siblings(txn: Transaction, branch_id: int) -> tuple[int, int, int] | None:
    """Two branches of one repo that one change would give a commit each, this branch being on the way to one of them: both, and the branch that changes."""
    edges = all_edges(txn, include_never=False)
    repo_of = _repos(txn)
    of_repo: dict[int, list[int]] = {}
    for below in edges:
        of_repo.setdefault(repo_of[below], []).append(below)
    changing = {branch_id} | upstream_closure(edges, branch_id)
    found = []
    for below in [branch_id, *sorted(downstream_closure(edges, [branch_id]))]:
        for other in of_repo.get(repo_of[below], ()):
            if other != below:
                both = changing & upstream_closure(edges, other) & ({below} | upstream_closure(edges, below))
                found += [(below, other, source) for source in both]
    return min(found, key=lambda pair: pair[2], default=None)


def find_unread(txn: Transaction, branch_ids: Collection[int] | None = None) -> list[tuple[int, int]]:
    """Branches, of those given or of all, whose head was not made from one that they are made from: each with that one, which has a head.

    There are none at the end of a transaction: what is made from a branch was made from a commit of it.
    """
    below, source, read = t.branch, t.branch.alias("source"), t.commit.alias("read")
    was_read = (
        sa.select(t.commit_provenance.c.commit_id)
        .join(read, t.commit_provenance.c.upstream_id == read.c.id)
        .where(
            t.commit_provenance.c.commit_id == below.c.head_id,
            read.c.repo_id == source.c.repo_id,
            t.commit_provenance.c.branch_name == source.c.name,
        )
    )
    unread = (
        sa.select(below.c.id, source.c.id.label("source_id"))
        .join_from(t.branch_provenance, below, t.branch_provenance.c.branch_id == below.c.id)
        .join(source, t.branch_provenance.c.upstream_id == source.c.id)
        .where(below.c.head_id.is_not(None), source.c.head_id.is_not(None), ~was_read.exists())
        .order_by(below.c.id, source.c.id)
    )
    chosen = unread if branch_ids is None else unread.where(below.c.id.in_(branch_ids))
    return [(int(row.id), int(row.source_id)) for row in txn.all(chosen)]


def find_writer(txn: Transaction, branch_id: int) -> str | None:
    """The name of the running pipeline that writes a branch, or None."""
    source, source_repo = t.branch.alias("source"), t.repo.alias("source_repo")
    row = txn.first(
        sa.select(t.pipeline.c.name)
        .join_from(t.branch, t.repo, t.branch.c.repo_id == t.repo.c.id)
        .join(t.pipeline, sa.and_(t.pipeline.c.project_id == t.repo.c.project_id, t.pipeline.c.name == t.repo.c.name))
        .join(t.branch_provenance, t.branch_provenance.c.branch_id == t.branch.c.id)
        .join(source, t.branch_provenance.c.upstream_id == source.c.id)
        .join(source_repo, sa.and_(source.c.repo_id == source_repo.c.id, source_repo.c.name == t.repo.c.name, source_repo.c.type == RepoType.SPEC))
        .where(t.branch.c.id == branch_id)
    )
    return None if row is None else str(row.name)


def _reachable(edges: Edges, branch_ids: Iterable[int]) -> set[int]:
    """What edges lead to from these; what none leads back to is not among it."""
    found: set[int] = set()
    frontier = [*branch_ids]
    while frontier:
        for source in edges.get(frontier.pop(), ()):
            if source not in found:
                found.add(source)
                frontier.append(source)
    return found


def _repos(txn: Transaction) -> dict[int, int]:
    """The repo of every branch."""
    return {row.id: row.repo_id for row in txn.all(sa.select(t.branch.c.id, t.branch.c.repo_id))}


@functools.cache
def _edges() -> sa.Select[Any]:
    # Made once: every commit asks it.
    return sa.select(t.branch_provenance)
