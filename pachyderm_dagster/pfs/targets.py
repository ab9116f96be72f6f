"""Where a write goes: into a commit that is open, or into one of its own behind the head of a branch."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.errors import ConflictError, InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references, repos
from pachyderm_dagster.pfs.model import BranchName, Commit, is_commit_id
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.storage.tree_reading import TreeRoot

ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Target:
    """What a write found.

    Attributes:
        open_commit: row of the commit that the write joins; None when it makes one of its own.
        head: row of the branch's head, None when the branch is new; of no use for an open commit.
        base: encoded tree of what is readable there; of no use for an open commit.
    """

    open_commit: int | None
    head: int | None = None
    base: bytes | None = None


def find_target(txn: Transaction, reference: Reference) -> Target:
    """Where a write to `reference` goes.

    Raises:
        InvalidError: `reference-invalid`, when it names no branch and no commit.
        NotFoundError: `repo-not-found`, `commit-not-found`.
        StateError: `commit-finished`; `output-branch`, when a pipeline writes there.
    """
    if reference.ref is None:
        raise InvalidError("reference-invalid", f"'{reference}' names no branch; write {reference.repo}@branch")
    if is_commit_id(reference.ref) or reference.back or reference.from_root is not None:
        return Target(commits.check_user_may_write(txn, references.find_commit(txn, reference)).key)
    repo_id = repos.get_repo(txn, reference.repo)
    row = txn.first(
        sa.select(t.branch.c.id, t.branch.c.head_id, t.commit.c.finished)
        .join_from(t.branch, t.commit, t.branch.c.head_id == t.commit.c.id, isouter=True)
        .where(t.branch.c.repo_id == repo_id, t.branch.c.name == reference.branch().name)
    )
    if row is None:
        return Target(None)
    if row.head_id is not None and row.finished is None:
        return Target(commits.check_user_may_write(txn, row.head_id).key)
    if branches.upstream_ids(txn, row.id):
        raise branches.output_branch(reference.branch())
    return Target(None, row.head_id, commits.readable_tree(txn, row.head_id))


def attempts(what: str) -> Iterator[int]:
    """Numbers the attempts at a write that others may overtake, with growing pauses between them.

    Raises:
        ConflictError: `branch-busy`, when there were too many.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, min(0.02 * attempt, 1.0)))
        yield attempt
    raise ConflictError("branch-busy", f"{what} changed during each of {ATTEMPTS} attempts to write to it; try again when fewer write at the same time")


def stage(txn: Transaction, reference: Reference, target: Target, layers: Sequence[bytes]) -> Commit | None:
    """Adds layers to an open commit; None when it was finished meanwhile and `reference` names a branch, which may have another head by now.

    Raises:
        StateError: `commit-finished`, when `reference` names the commit itself.
    """
    assert target.open_commit is not None
    try:
        for layer in layers:
            commits.add_layer(txn, target.open_commit, layer)
    except StateError as error:
        if error.code != "commit-finished" or is_commit_id(reference.ref or ""):
            raise
        return None
    return commits.get_commit(txn, target.open_commit)


def commit_at_once(txn: Transaction, name: BranchName, target: Target, root: TreeRoot, *, description: str) -> Commit | None:
    """Starts, fills and finishes a commit; None when the head is no longer what the content was put upon.

    Raises:
        StateError: `output-branch`, `commit-open`.
    """
    _, head = branches.ensure_branch(txn, name)
    if head != target.head:
        return None
    commit_id = commits.start_commit(txn, name, description=description)
    commits.close_commit(txn, commit_id, tree=root.encode(), size_bytes=root.size_bytes)
    return commits.get_commit(txn, commit_id)
