"""Commits under ids that their writers chose: whoever starts again finds the commit that is there, and makes no second one (docs/design/0017)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.attempts import attempts
from pachyderm_dagster.pfs.commit_records import CommitRecord, add_record
from pachyderm_dagster.pfs.filesets import Layer
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName, is_commit_id
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.pfs.targets import Overtaken, Target, commit_at_once, find_target, open_head, record_at_once
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.trees import Trees


@dataclass(frozen=True, slots=True)
class CommitName:
    """What its writer says of a commit before it is made."""

    id: str
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


def check_id(id: str) -> None:
    """Raises InvalidError `name-invalid` for what cannot be a commit's id."""
    if not is_commit_id(id):
        raise InvalidError("name-invalid", f"{id!r} cannot be the id of a commit; it has 32 digits of 0-9 and a-f")


def find_named(txn: Transaction, repo: RepoName, id: str) -> Commit | None:
    """The commit of this id in a repo, if it has been made.

    Raises:
        NotFoundError: `repo-not-found`.
        StateError: `commit-removed`.
    """
    repo_id = repos.get_repo(txn, repo)
    row = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo_id, t.commit.c.set_id == id))
    if row is not None:
        return commits.get_commit(txn, row.id)
    removed = sa.select(t.removed_commit.c.id).where(t.removed_commit.c.repo_id == repo_id, t.removed_commit.c.set_id == id)
    if txn.first(removed) is not None:
        raise StateError("commit-removed", f"commit '{repo}@{id}' was made and then removed, and an id is used once; write under another one")
    return None


@dataclass(frozen=True, slots=True)
class NamedCommits:
    """Makes commits under given ids. For several threads."""

    database: Database
    trees: Trees
    reader: ContentReader

    def write(self, branch: BranchName, name: CommitName, layers: Sequence[Layer], writer: ContentWriter, since: dt.datetime) -> Commit:
        """Makes the commit behind the head of the branch, whoever else moves that meanwhile, or returns the one that has the id.

        Raises:
            NotFoundError: `repo-not-found`.
            StateError: `commit-open`, when the head is open; `output-branch`; `commit-removed`.
            InvalidError: `path-conflict`.
            ConflictError: `branch-busy`; `write-collected`.
        """
        written: dt.datetime | None = None
        for _ in attempts(f"branch '{branch}'"):
            with self.database.read() as txn:
                found, target = find_named(txn, branch.repo, name.id), find_target(txn, Reference(branch.repo, branch.name))
            if found is not None:
                return found if written is None else self._renew_record(found)
            if target.open_commit is not None:
                raise open_head(branch)
            record = self._record(branch, name, target, layers, writer, written)
            written = record.written
            writer.flush()
            try:
                made = self.database.write(partial(_commit, branch, target.head, since, record), id=name.id)
            except Overtaken:
                continue
            return made
        raise AssertionError("attempts() raises when there are no more")

    def _record(
        self, branch: BranchName, name: CommitName, target: Target, layers: Sequence[Layer], writer: ContentWriter, last: dt.datetime | None
    ) -> CommitRecord:
        """What the commit will be, behind what its target is now; stored when the writer was flushed."""
        root = merge(self.trees, self.reader, writer, self.trees.decode(target.base), layers)
        now = self.database.clock.now()
        record = record_at_once(
            branch,
            target.repo,
            name.id,
            parent=target.head_set,
            root=root,
            description=name.description,
            stored_bytes=writer.stored_bytes,
            now=now,
            # Of the records of one id the newest is true.
            written=now if last is None else max(now, last + dt.timedelta(microseconds=1)),
            metadata=name.metadata,
        )
        add_record(writer.packs, record)
        return record

    def _renew_record(self, found: Commit) -> Commit:
        """Two wrote under one id at the same time, and this one lost: its record lies in the store too, and must not be the newest."""
        self.database.write(lambda txn: txn.run(sa.update(t.commit).where(t.commit.c.id == found.key).values(recorded=False)))
        return found


def _commit(branch: BranchName, head: int | None, since: dt.datetime, record: CommitRecord, txn: Transaction) -> Commit:
    check_not_collected(txn, since)
    if find_named(txn, branch.repo, record.id) is not None:
        raise Overtaken
    return commits.get_commit(txn, commit_at_once(txn, branch, head, record).commit)
