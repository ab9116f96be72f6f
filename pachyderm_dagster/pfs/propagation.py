"""Propagation: what a change of some branches starts downstream, once, at the end of a transaction (docs/design/0002)."""

from collections.abc import Sequence

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits
from pachyderm_dagster.pfs.model import Origin, RepoType
from pachyderm_dagster.pfs.provenance import all_edges, downstream_closure, find_unread, upstream_closure


def propagate(txn: Transaction) -> None:
    """Opens a commit of this transaction's set on every branch downstream of the changed ones, sources first.

    Each new commit's provenance is the head, by then, of each branch that it is made from, or what that is pinned to. There is no "nothing changed" test:
    a head moved to where it was still starts jobs, which skip every datum.

    Raises:
        StateError: `head-provenance`, when a branch was given a head that was not made from all that the branch is made from.
        InvalidError: `set-conflict`; `pin-invalid`, for a branch that is pinned and changed.
    """
    changed = txn.touched_branches | txn.moved_branches
    if not changed:
        return
    edges = all_edges(txn)
    if not edges:
        return
    # A commit does not pass through an edge that is marked so; the order is by all of them.
    passing = all_edges(txn, include_never=False)
    affected = (txn.touched_branches & edges.keys()) | downstream_closure(passing, changed)
    given = [branch_id for branch_id in edges if branch_id in txn.moved_branches]
    # A branch is in more closures than anything downstream of it, so the size of its own closure is a topological order.
    for branch_id in sorted(affected, key=lambda branch_id: (len(upstream_closure(edges, branch_id)), branch_id)):
        row = txn.first(sa.select(t.branch.c.head_id).where(t.branch.c.id == branch_id))
        assert row is not None
        if _is_of_this_set(txn, row.head_id):
            given.append(branch_id)
            continue
        if _reads_only_its_spec(txn, edges[branch_id]):
            continue
        sources = t.branch.c.id.in_(edges[branch_id]), t.branch.c.head_id.is_not(None)
        heads = txn.all(sa.select(t.branch.c.id, t.branch.c.head_id, t.branch.c.name).where(*sources))
        upstream = [(_pinned(txn, head.id, head.head_id), head.name) for head in heads]
        commits.add_commit(txn, branch_id, parent=row.head_id, origin=Origin.AUTO, upstream=upstream)
    _check_given_heads(txn, given)


def _check_given_heads(txn: Transaction, branch_ids: Sequence[int]) -> None:
    """Looks at heads that propagation did not make itself."""
    for branch_id, source_id in find_unread(txn, branch_ids) if branch_ids else ():
        name, source = branches.branch_name(txn, branch_id), branches.branch_name(txn, source_id)
        (row,) = txn.all(sa.select(t.branch.c.head_id).where(t.branch.c.id == branch_id))
        head = commits.get_commit(txn, row.head_id)
        made_from = ", ".join(f"'{read}'" for read in sorted(commits.read_through(txn, row.head_id))) or "no other branch"
        raise StateError(
            "head-provenance",
            f"branch '{name}' is made from '{source}', and commit '{head}' was made from {made_from}, so it cannot be the head; `pachctl create branch "
            f"{name.repo}@NAME --head {head}` gives it a branch that is made from nothing",
        )


def _pinned(txn: Transaction, branch_id: int, head_id: int) -> int:
    """What is read of a branch."""
    pinned = txn.pinned_heads.get(branch_id, head_id)
    if pinned != head_id and _is_of_this_set(txn, head_id):
        name, other = branches.branch_name(txn, branch_id), commits.get_commit(txn, pinned)
        raise InvalidError("pin-invalid", f"'{name}' is pinned to '{other}', and this change makes a commit of it; leave out one of them")
    return pinned


def _is_of_this_set(txn: Transaction, head_id: int | None) -> bool:
    if head_id is None:
        return False
    return txn.first(sa.select(t.commit.c.id).where(t.commit.c.id == head_id, t.commit.c.set_id == txn.id)) is not None


def _reads_only_its_spec(txn: Transaction, upstream: set[int]) -> bool:
    types = txn.all(sa.select(t.repo.c.type).join(t.branch).where(t.branch.c.id.in_(upstream)))
    return [row.type for row in types] == [RepoType.SPEC]
