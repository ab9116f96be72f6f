"""Checking the record: what must hold between its rows, and putting right what can be."""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, repos
from pachyderm_dagster.storage.trees import TreeRoot


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the record."""

    act: Callable[[Transaction], object]


@dataclass(frozen=True, slots=True)
class MarkLost:
    """An error for a commit part of whose content is lost, so that nothing builds upon it: only for who asks for it. What it still holds can be read."""

    commit: int


class Upkeep(enum.Enum):
    """What is done for the store, whoever does it."""

    SAVE = "save"  # what the store lacks of the record
    SWEEP = "sweep"  # what killed writes left


Repair: TypeAlias = Change | MarkLost | Upkeep


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be.

    Attributes:
        code: stable, for programs.
        message: one line for people: what, what was found, and what to do where no repair is known.
        repair: what puts it right; None when nothing does that is known here.
    """

    code: str
    message: str
    repair: Repair | None = None


def check_record(txn: Transaction) -> Iterator[Problem]:
    """The problems of the record, those of rows first, since the others are about rows."""
    yield from _dangling(txn)
    yield from _provenance(txn)
    yield from _heads(txn)
    yield from _parents(txn)
    yield from _layers(txn)
    yield from _triggers(txn)
    yield from _sizes(txn)


def _dangling(txn: Transaction) -> Iterator[Problem]:
    """Rows that refer to rows that are gone; PostgreSQL has none."""
    if txn.connection.dialect.name != "sqlite":
        return
    for table, row_id, gone, _ in txn.connection.execute(sa.text("PRAGMA foreign_key_check")).all():
        yield Problem("row-dangling", f"row {row_id} of table {table} refers to a row of {gone} that is gone", _statement(_cut(table, row_id, gone)))


def _cut(name: str, row_id: int, gone: str) -> sa.Update | sa.Delete:
    """Takes away the reference of a row to one that is gone, or the row where it cannot be without."""
    table, is_row = t.metadata.tables[name], sa.literal_column("rowid") == row_id
    optional = [key.parent for key in table.foreign_keys if key.column.table.name == gone and key.parent.nullable]
    return sa.update(table).where(is_row).values(dict.fromkeys(optional)) if optional else sa.delete(table).where(is_row)


def _statement(statement: sa.Insert | sa.Update | sa.Delete) -> Change:
    return Change(lambda txn: txn.run(statement))


def _provenance(txn: Transaction) -> Iterator[Problem]:
    edges: dict[int, set[int]] = {}
    for row in txn.all(sa.select(t.branch_provenance)):
        edges.setdefault(row.branch_id, set()).add(row.upstream_id)
    repo_of = {row.id: row.repo_id for row in txn.all(sa.select(t.branch.c.id, t.branch.c.repo_id))}
    for branch_id in sorted(edges):
        above = _closure(edges, branch_id)
        if branch_id in above:
            name = branches.branch_name(txn, branch_id)
            yield Problem(
                "provenance-cycle", f"branch '{name}' is made from itself; `pachctl create branch {name} -p ...` with other branches breaks the circle"
            )
        elif any(repo_of.get(source) == repo_of.get(branch_id) for source in above):
            name = branches.branch_name(txn, branch_id)
            yield Problem(
                "provenance-own-repo", f"branch '{name}' is made from another branch of its own repo; `pachctl create branch {name} -p ...` changes that"
            )


def _closure(edges: dict[int, set[int]], branch_id: int) -> set[int]:
    found: set[int] = set()
    frontier = [branch_id]
    while frontier:
        new = edges.get(frontier.pop(), set()) - found
        found |= new
        frontier += new
    return found


def _heads(txn: Transaction) -> Iterator[Problem]:
    head = t.commit.alias("head")
    rows = txn.all(
        sa.select(t.branch, head.c.id.label("found"), head.c.repo_id.label("head_repo"))
        .join_from(t.branch, head, t.branch.c.head_id == head.c.id, isouter=True)
        .order_by(t.branch.c.id)
    )
    read: dict[int, set[tuple[int, str]]] = {}
    for row in txn.all(
        sa.select(t.commit_provenance.c.commit_id, t.commit_provenance.c.branch_name, t.commit.c.repo_id).join(
            t.commit, t.commit.c.id == t.commit_provenance.c.upstream_id
        )
    ):
        read.setdefault(row.commit_id, set()).add((row.repo_id, row.branch_name))
    by_row = {row.id: row for row in rows}
    upstream: dict[int, list[int]] = {}
    for edge in txn.all(sa.select(t.branch_provenance)):
        upstream.setdefault(edge.branch_id, []).append(edge.upstream_id)
    readers = {source for sources in upstream.values() for source in sources}
    for row in rows:
        if row.head_id is None:
            if row.id in readers and row.id not in upstream:
                yield Problem("head-none", f"branch '{branches.branch_name(txn, row.id)}' is read by another one and has no commit", _empty_head(row.id))
            continue
        if row.found is None:
            yield Problem("head-missing", f"the head of branch '{branches.branch_name(txn, row.id)}' is gone", _new_head(row.id))
        elif row.head_repo != row.repo_id:
            yield Problem("head-of-other-repo", f"the head of branch '{branches.branch_name(txn, row.id)}' is a commit of another repo", _new_head(row.id))
        else:
            lacking = [by_row[source] for source in upstream.get(row.id, ()) if by_row[source].head_id is not None]
            if any((source.repo_id, source.name) not in read.get(row.head_id, set()) for source in lacking):
                message = f"the head of branch '{branches.branch_name(txn, row.id)}' was not made from all that the branch is made from"
                yield Problem("head-provenance", message, _touch(row.id))


def _touch(branch_id: int) -> Change:
    return Change(lambda txn: txn.touched_branches.add(branch_id))


def _empty_head(branch_id: int) -> Change:
    return Change(lambda txn: branches.add_empty_root(txn, branch_id))


def _new_head(branch_id: int) -> Change:
    """The newest commit that was made on the branch; an empty one when there is none."""

    def change(txn: Transaction) -> None:
        own = sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id).subquery()
        newest = txn.first(
            sa.select(t.commit.c.id).where(t.commit.c.repo_id == own.c.repo_id, t.commit.c.branch_name == own.c.name).order_by(t.commit.c.id.desc()).limit(1)
        )
        txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=None if newest is None else newest.id))
        if newest is None:
            branches.add_empty_root(txn, branch_id)
        txn.touched_branches.add(branch_id)

    return Change(change)


def _parents(txn: Transaction) -> Iterator[Problem]:
    parent = t.commit.alias("parent")
    wrong = sa.or_(parent.c.repo_id != t.commit.c.repo_id, parent.c.id >= t.commit.c.id)
    rows = txn.all(
        sa.select(t.commit.c.id, parent.c.repo_id, t.commit.c.repo_id.label("own"))
        .join_from(t.commit, parent, t.commit.c.parent_id == parent.c.id)
        .where(wrong)
    )
    for row in rows:
        name = commits.get_commit(txn, row.id)
        unlink = _statement(sa.update(t.commit).where(t.commit.c.id == row.id).values(parent_id=None))
        if row.repo_id != row.own:
            yield Problem("parent-of-other-repo", f"the parent of commit '{name}' is of another repo", unlink)
        else:
            yield Problem("parent-newer", f"the parent of commit '{name}' is newer than it", unlink)
    for row in txn.all(sa.select(t.commit.c.repo_id, t.commit.c.set_id).group_by(t.commit.c.repo_id, t.commit.c.set_id).having(sa.func.count() > 1)):
        yield Problem("set-twice", f"repo '{repos.repo_name(txn, row.repo_id)}' has several commits with the id {row.set_id}; delete all but one branch's")


def _layers(txn: Transaction) -> Iterator[Problem]:
    rows = txn.all(sa.select(t.commit.c.id).distinct().join(t.commit_layer).where(t.commit.c.finished.is_not(None)))
    for row in rows:
        message = f"commit '{commits.get_commit(txn, row.id)}' is finished and still has files staged, which are in nothing"
        yield Problem("layers-of-finished", message, _statement(sa.delete(t.commit_layer).where(t.commit_layer.c.commit_id == row.id)))


def _triggers(txn: Transaction) -> Iterator[Problem]:
    source = t.branch.alias("source")
    rows = txn.all(
        sa.select(t.branch_trigger.c.branch_id)
        .join_from(t.branch_trigger, t.branch, t.branch_trigger.c.branch_id == t.branch.c.id)
        .join(source, t.branch_trigger.c.source_id == source.c.id)
        .where(sa.or_(t.branch.c.id == source.c.id, t.branch.c.repo_id != source.c.repo_id))
    )
    for row in rows:
        name = branches.branch_name(txn, row.branch_id)
        repair = _statement(sa.delete(t.branch_trigger).where(t.branch_trigger.c.branch_id == row.branch_id))
        yield Problem("trigger-source", f"the trigger of branch '{name}' looks at the branch itself, or at one of another repo", repair)


def _sizes(txn: Transaction) -> Iterator[Problem]:
    for row in txn.all(sa.select(t.commit.c.id, t.commit.c.tree, t.commit.c.size_bytes).where(t.commit.c.tree.is_not(None))):
        size = TreeRoot.decode(bytes(row.tree)).size_bytes
        if size != row.size_bytes:
            repair = _statement(sa.update(t.commit).where(t.commit.c.id == row.id).values(size_bytes=size))
            yield Problem("size", f"commit '{commits.get_commit(txn, row.id)}' says that it has {row.size_bytes} bytes and has {size}", repair)
