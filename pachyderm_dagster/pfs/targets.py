"""Where a write goes: into a commit that is open, or into one of its own behind the head of a branch."""

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references, repos
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin, is_commit_id
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.storage.trees import TreeRoot


class Overtaken(Exception):
    """Another writer moved the branch meanwhile; the whole write can be tried again."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a write found.

    Attributes:
        open_commit: row of the commit that the write joins; None when it makes one of its own. All else is of no use then.
        repo: row of the repo.
        head, head_set: row and set of the branch's head, None when the branch is new.
        base: encoded tree of what is readable there.
    """

    open_commit: int | None
    repo: int = 0
    head: int | None = None
    head_set: str | None = None
    base: bytes | None = None


def open_head(branch: Reference | BranchName) -> StateError:
    """The error that a commit behind an open head is."""
    return StateError("commit-open", f"the head of branch '{branch}' is open, so nothing can come behind it; `pachctl finish commit {branch}` closes it")


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
    row = _find_branch(txn, reference.branch())
    if row.id is None:
        return Target(None, row.repo_id)
    if row.head_id is not None and row.finished is None:
        return Target(commits.check_user_may_write(txn, row.head_id).key)
    if row.is_output:
        raise branches.output_branch(txn, reference.branch(), row.id)
    base = row.tree if row.error is None else commits.readable_tree(txn, row.head_id)
    return Target(None, row.repo_id, row.head_id, row.set_id, None if base is None else bytes(base))


def stage(txn: Transaction, reference: Reference, target: Target, layers: Sequence[bytes], stored_bytes: int) -> Commit | None:
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
    commits.count_stored(txn, target.open_commit, stored_bytes)
    return commits.get_commit(txn, target.open_commit)


@dataclass(frozen=True, slots=True)
class Made:
    """A commit that a write made: the row of its branch and its own, and whether other branches follow that one."""

    branch: int
    commit: int
    followed: bool


def record_at_once(
    name: BranchName,
    repo: int,
    id: str,
    *,
    parent: str | None,
    root: TreeRoot,
    description: str,
    stored_bytes: int,
    now: dt.datetime,
    written: dt.datetime,
    metadata: Mapping[str, str] | None = None,
) -> CommitRecord:
    """The record of a commit that a user's write makes, from nothing to finished at `now`; `repo` is the repo's row, `parent` a set."""
    return CommitRecord(
        project=name.repo.project,
        repo=name.repo.name,
        repo_type=name.repo.type,
        repo_id=repo,
        branch=name.name,
        id=id,
        parent=parent,
        origin=Origin.USER,
        description=description,
        started=now,
        finished=now,
        error=None,
        size_bytes=root.size_bytes,
        tree=root.encode(),
        stored_bytes=stored_bytes,
        metadata=dict(metadata or {}),
        written=written,
    )


def commit_at_once(txn: Transaction, name: BranchName, head: int | None, record: CommitRecord) -> Made:
    """Makes a finished commit behind `head` as its record, which the store holds, says; the set is this transaction's.

    Raises:
        Overtaken: the head is another one.
        StateError: `output-branch`.
    """
    assert record.id == txn.id
    row = _find_branch(txn, name)
    if row.head_id != head or row.repo_id != record.repo_id:
        raise Overtaken
    if row.is_output:
        raise branches.output_branch(txn, name, row.id)
    branch_id = branches.ensure_branch(txn, name)[0] if row.id is None else row.id
    return Made(branch_id, commits.add_recorded(txn, branch_id, parent=head, record=record, followed=row.followed), row.followed)


def commit_behind(txn: Transaction, previous: Made, record: CommitRecord) -> Made:
    """As `commit_at_once`, behind a commit that was made in the same transaction of the database, so that nobody came between."""
    assert record.id == txn.id
    made = commits.add_recorded(txn, previous.branch, parent=previous.commit, record=record, followed=previous.followed)
    return Made(previous.branch, made, previous.followed)


def _find_branch(txn: Transaction, name: BranchName) -> sa.Row[Any]:
    """The branch as `_branch()` has it.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    row = txn.first(_branch(), project=name.repo.project, repo=name.repo.name, type=name.repo.type, branch=name.name)
    if row is None:
        repos.get_repo(txn, name.repo)
        raise AssertionError("get_repo raises where the repo is missing")
    return row


@functools.cache
def _branch() -> sa.Select[Any]:
    """A branch with its head; without a branch only the repo. Made once, since making a statement takes longer than running it."""
    return (
        sa.select(
            t.repo.c.id.label("repo_id"),
            t.branch.c.id,
            t.branch.c.head_id,
            t.commit.c.set_id,
            t.commit.c.finished,
            t.commit.c.error,
            t.commit.c.tree,
            sa.exists().where(t.branch_provenance.c.branch_id == t.branch.c.id).label("is_output"),
            sa.or_(
                sa.exists().where(t.branch_provenance.c.upstream_id == t.branch.c.id),
                sa.exists().where(t.branch_trigger.c.source_id == t.branch.c.id),
            ).label("followed"),
        )
        .select_from(t.project)
        .join(t.repo)
        .outerjoin(t.branch, sa.and_(t.branch.c.repo_id == t.repo.c.id, t.branch.c.name == sa.bindparam("branch")))
        .outerjoin(t.commit, t.branch.c.head_id == t.commit.c.id)
        .where(t.project.c.name == sa.bindparam("project"), t.repo.c.name == sa.bindparam("repo"), t.repo.c.type == sa.bindparam("type"))
    )
