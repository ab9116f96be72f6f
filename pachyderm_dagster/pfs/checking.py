"""Checking the record: what must hold between its rows, and putting right what can be."""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, repos
from pachyderm_dagster.pfs.provenance import all_edges, find_unread, upstream_closure, upstream_ids


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the record."""

    act: Callable[[Transaction], object]


@dataclass(frozen=True, slots=True)
class MarkLost:
    """An error for a commit part of whose content is lost, so that nothing builds upon it: only for who asks for it. What it still holds can be read."""

    commit: int


@dataclass(frozen=True, slots=True)
class MendRoot:
    """The content of a commit, as the store's own record of the commit says it is."""

    commit: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What the store tells of and the record does not: only for who asks for it.

    Attributes:
        commits: by the rows of their repos and their ids.
        structure: the number of the structure that the record never had.
    """

    commits: tuple[tuple[int, str], ...]
    structure: int = 0


@dataclass(frozen=True, slots=True)
class MarkStore:
    """The mark that says whose the store is, written again."""


class Upkeep(enum.Enum):
    """What is done for the store, whoever does it."""

    SAVE = "save"  # what the store lacks of the record
    SWEEP = "sweep"  # what killed writes left


Repair: TypeAlias = Change | MarkLost | MendRoot | GiveUp | MarkStore | Upkeep


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


def check_references(txn: Transaction) -> Iterator[Problem]:
    """Rows that refer to rows that are gone: to be put right before anything else is looked at, which takes rows for whole. PostgreSQL has none."""
    if txn.connection.dialect.name != "sqlite":
        return
    for table, row_id, gone in _dangling(txn):
        yield Problem("row-dangling", f"row {row_id} of table {table} refers to a row of {gone} that is gone", Change(_cut_dangling))


def check_record(txn: Transaction) -> Iterator[Problem]:
    """The problems of a record in which no row is dangling."""
    yield from _provenance(txn)
    yield from _heads(txn)
    yield from _parents(txn)
    yield from _layers(txn)
    yield from _triggers(txn)


def _dangling(txn: Transaction) -> list[tuple[str, int, str]]:
    """Table, row, and the table of what is gone."""
    return [(row[0], row[1], row[2]) for row in txn.connection.execute(sa.text("PRAGMA foreign_key_check"))]


def _cut_dangling(txn: Transaction) -> None:
    """Puts every dangling row right, and those that dangle once another one is removed."""
    # Until the end, because what refers to a row that is removed comes after it.
    txn.connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    while found := _dangling(txn):
        for table, row_id, gone in found:
            txn.run(_cut(table, row_id, gone))


def _cut(name: str, row_id: int, gone: str) -> sa.Update | sa.Delete:
    """Takes away the reference of a row to one that is gone, or the row where it cannot be without, or would go with the other one."""
    table, is_row = t.metadata.tables[name], sa.literal_column("rowid") == row_id
    optional = [key.parent for key in table.foreign_keys if key.column.table.name == gone and key.parent.nullable and key.ondelete is None]
    return sa.update(table).where(is_row).values(dict.fromkeys(optional)) if optional else sa.delete(table).where(is_row)


def _statement(statement: sa.Insert | sa.Update | sa.Delete) -> Change:
    return Change(lambda txn: txn.run(statement))


def _provenance(txn: Transaction) -> Iterator[Problem]:
    edges = all_edges(txn)
    repo_of = {row.id: row.repo_id for row in txn.all(sa.select(t.branch.c.id, t.branch.c.repo_id))}
    for branch_id in sorted(edges):
        above = upstream_closure(edges, branch_id)
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


def _heads(txn: Transaction) -> Iterator[Problem]:
    bad = _bad_heads(txn)
    for branch_id, code in bad.items():
        yield Problem(code, f"branch '{branches.branch_name(txn, branch_id)}' {_FOUND[code]}", Change(_mend_heads))
    for branch_id, source_id in find_unread(txn):
        if branch_id not in bad:
            name, source = branches.branch_name(txn, branch_id), branches.branch_name(txn, source_id)
            yield Problem("head-provenance", f"branch '{name}' is made from '{source}', and its head was not", _touch(branch_id))


_FOUND = {
    "head-none": "has commits, or is read by another one, and has no head",
    "head-missing": "has a head that is gone",
    "head-of-other-repo": "has a commit of another repo for its head",
}


def _bad_heads(txn: Transaction) -> dict[int, str]:
    """The branches without a head that they can have, each with the code for it."""
    head = t.commit.alias("head")
    rows = txn.all(
        sa.select(t.branch, head.c.id.label("found"), head.c.repo_id.label("head_repo"))
        .join_from(t.branch, head, t.branch.c.head_id == head.c.id, isouter=True)
        .order_by(t.branch.c.id)
    )
    labels = {(row.repo_id, row.branch_name) for row in txn.all(sa.select(t.commit.c.repo_id, t.commit.c.branch_name).distinct())}
    edges = txn.all(sa.select(t.branch_provenance))
    # One that waits for its first commit may be made from others; without commits it may also just be of no use yet.
    must_have = {edge.upstream_id for edge in edges} - {edge.branch_id for edge in edges}
    must_have |= {row.id for row in rows if (row.repo_id, row.name) in labels}
    bad = {}
    for row in rows:
        if row.head_id is None and row.id in must_have:
            bad[row.id] = "head-none"
        elif row.head_id is not None and row.found is None:
            bad[row.id] = "head-missing"
        elif row.head_id is not None and row.head_repo != row.repo_id:
            bad[row.id] = "head-of-other-repo"
    return bad


def _mend_heads(txn: Transaction) -> None:
    """Gives every branch that needs it the newest commit that was made on it; where there is none, an empty one, or what propagation makes."""
    bad = sorted(_bad_heads(txn))
    for branch_id in bad:
        own = sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id).subquery()
        made = sa.select(sa.func.max(t.commit.c.id).label("newest")).where(t.commit.c.repo_id == own.c.repo_id, t.commit.c.branch_name == own.c.name)
        (row,) = txn.all(made)
        txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=row.newest))
        if row.newest is None and not upstream_ids(txn, branch_id):
            branches.add_empty_root(txn, branch_id)
    unread = {branch_id for branch_id, _ in find_unread(txn, bad)}
    headless = {row.id for row in txn.all(sa.select(t.branch.c.id).where(t.branch.c.id.in_(bad), t.branch.c.head_id.is_(None)))}
    txn.touched_branches.update(unread | headless)
    txn.moved_branches.update(bad)


def _touch(branch_id: int) -> Change:
    return Change(lambda txn: txn.touched_branches.add(branch_id))


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


def count_commits(txn: Transaction) -> int:
    """How many commits a check looks at: those of the record, whatever state they are in."""
    found = txn.first(sa.select(sa.func.count()).select_from(t.commit))
    assert found is not None
    return int(found[0])
