"""Commits of what somebody else made from commits that he names: the content is all that the branch then holds (docs/design/0032)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits, references, repos
from pachyderm_dagster.pfs.attempts import attempts
from pachyderm_dagster.pfs.commit_records import CommitRecord, UpstreamCommit, add_record
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.pfs.targets import Overtaken, Target, commit_at_once, find_target, record_at_once
from pachyderm_dagster.storage.content import ContentWriter
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.trees import TreeRoot


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """A commit that something was made from.

    Args:
        branch: through which it was read; that of the repo which it names, whatever branch the commit is on.
        id: of the commit.
    """

    branch: BranchName
    id: str

    def __str__(self) -> str:
        return f"{full_name(self.branch)}={self.id}"


def full_name(branch: BranchName) -> str:
    """The name that means the same branch whatever project is the active one."""
    return f"{branch.repo.project}/{branch.repo.name}@{branch.name}"


Upstream: TypeAlias = Sequence[tuple[int, MadeFrom]]
"""What something is made from, each with the row of the commit."""


@dataclass(frozen=True, slots=True)
class Making:
    """What a commit is to be.

    Args:
        origin: AUTO for the output of a pipeline, whose files say which datums wrote them.
        since: when the storing of its content began.
        stored_bytes: what that added to the store.
    """

    root: TreeRoot
    made_from: tuple[MadeFrom, ...]
    origin: Origin
    since: dt.datetime
    description: str = ""
    stored_bytes: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


def make_commit(database: Database, store: ObjectStore, branch: BranchName, making: Making) -> Commit:
    """The commit of this content and provenance at the head of the branch: made now, or the head itself when it is that already.

    So what runs again makes nothing twice, and who reads by commit finds the same id. Repo and branch are made when missing.

    Raises:
        NotFoundError: `project-not-found`; `commit-not-found`, for what it was made from.
        InvalidError: `provenance-invalid`, for what was made from a commit with an error.
        StateError: `output-branch`, when a pipeline of this home writes the branch; `commit-open`.
        ConflictError: `branch-busy`, `write-collected`.
    """
    database.write(partial(_ensure_repo, branch, making.description))
    written: dt.datetime | None = None
    with ContentWriter(store) as writer:
        for _ in attempts(f"branch '{branch}'"):
            with database.read() as txn:
                target = find_target(txn, Reference(branch.repo, branch.name))
                if target.open_commit is not None:
                    raise StateError("commit-open", f"the head of branch '{branch}' is open; `pachctl finish commit {branch}` closes it")
                upstream = tuple((_find_upstream(txn, one), one) for one in making.made_from)
                head = None if target.head is None else commits.get_commit(txn, target.head)
                if head is not None and _is_same(txn, head, making, upstream):
                    return head
            now = database.clock.now()
            written = now if written is None else max(now, written + dt.timedelta(microseconds=1))
            record = _record(branch, target, making, database.clock.new_id(), now, written)
            add_record(writer.packs, record)
            writer.flush()
            try:
                return database.write(partial(_commit, branch, target.head, making, record, upstream), id=record.id)
            except Overtaken:
                continue
    raise AssertionError("attempts() raises when there are no more")


def _ensure_repo(branch: BranchName, description: str, txn: Transaction) -> None:
    if repos.find_repo(txn, branch.repo) is None:
        repos.create_repo(txn, branch.repo, description=description)


def _find_upstream(txn: Transaction, made_from: MadeFrom) -> int:
    """The row of a commit, which has to be readable."""
    row = references.find_commit(txn, Reference(made_from.branch.repo, made_from.id))
    commit = commits.get_commit(txn, row)
    if commit.finished is None:
        raise StateError("commit-open", f"commit '{commit}' is still open, so nothing was made from it; finish it first")
    if commit.error is not None:
        raise InvalidError("provenance-invalid", f"commit '{commit}' has an error, so nothing was made from it: {commit.error}")
    return row


def _is_same(txn: Transaction, head: Commit, making: Making, upstream: Upstream) -> bool:
    if head.tree is None or head.error is not None or head.origin is not making.origin or TreeRoot.decode(head.tree).id != making.root.id:
        return False
    return commits.read_through(txn, head.key) == {one.branch: row for row, one in upstream}


def _record(branch: BranchName, target: Target, making: Making, id: str, now: dt.datetime, written: dt.datetime) -> CommitRecord:
    record = record_at_once(
        branch,
        target.repo,
        id,
        parent=target.head_set,
        root=making.root,
        description=making.description,
        stored_bytes=making.stored_bytes,
        now=now,
        written=written,
        metadata=making.metadata,
    )
    return msgspec.structs.replace(record, origin=making.origin, provenance=_provenance(making.made_from))


def _provenance(made_from: Sequence[MadeFrom]) -> tuple[UpstreamCommit, ...]:
    return tuple(UpstreamCommit(one.branch.repo.project, one.branch.repo.name, one.branch.repo.type, one.id, one.branch.name) for one in made_from)


def _commit(branch: BranchName, head: int | None, making: Making, record: CommitRecord, upstream: Upstream, txn: Transaction) -> Commit:
    check_not_collected(txn, making.since)
    made = commit_at_once(txn, branch, head, record)
    for row, one in upstream:
        txn.run(sa.insert(t.commit_provenance).values(commit_id=made.commit, upstream_id=row, branch_name=one.branch.name), kept=True)
    return commits.get_commit(txn, made.commit)
