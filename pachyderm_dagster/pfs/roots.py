"""Roots: everything that the record refers to in the store, for the collector, who keeps it, and for fsck, who looks whether it is there."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.horizon import LAYER, RESULTS
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.storage.reachable import Documents, Root
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, TreeKind
from pachyderm_dagster.storage.trees import TreeRoot


@dataclass(frozen=True, slots=True)
class PipelineTrees:
    """What the layer above keeps in trees of its own.

    Attributes:
        details: of the datums in a meta commit.
        results: the kind of a pipeline's results tree.
        result_details: of the datums in it.
    """

    details: Documents
    results: TreeKind
    result_details: Documents


@dataclass(frozen=True, slots=True)
class HeldTree:
    """A tree that the record refers to.

    Attributes:
        label: who holds it, for people.
        kind: the type of the repo whose content it is, or `RESULTS`.
        tree: its encoded root.
        commit: the row of the commit that holds it; None where something else does.
    """

    label: str
    kind: str
    tree: bytes
    commit: int | None = None


@dataclass(frozen=True, slots=True)
class HeldLayer:
    """A staged layer that the record refers to, as `staging.load_layer` takes it; `label` as of a tree."""

    label: str
    layer: bytes


def list_trees(txn: Transaction, *, since: dt.datetime | None = None) -> Iterator[HeldTree]:
    """Every tree, once for each that holds it, commits first and the oldest first.

    What was given up, or expired, may be in use by somebody who found it before, and is held until a collection has removed its row.

    Args:
        since: leaves out what was given up, or expired, before.
    """
    statement = sa.select(t.project.c.name.label("project"), t.repo.c.name, t.repo.c.type, t.commit.c.set_id, t.commit.c.id, t.commit.c.tree)
    statement = statement.join_from(t.commit, t.repo).join(t.project).where(t.commit.c.tree.is_not(None)).order_by(t.commit.c.id)
    for commit in txn.connection.execute(statement):
        yield HeldTree(_commit_label(commit.project, commit.name, commit.type, commit.set_id), commit.type, bytes(commit.tree), commit.id)
    for row in txn.all(sa.select(t.pipeline.c.name, t.pipeline.c.results).where(t.pipeline.c.results.is_not(None)).order_by(t.pipeline.c.id)):
        yield HeldTree(f"the results of pipeline '{row.name}'", RESULTS, bytes(row.results))
    for row in txn.all(_released(since).where(t.released_tree.c.kind != LAYER)):
        yield HeldTree(_released_label(row.released), row.kind, bytes(row.tree))
    for row in txn.all(_unexpired(sa.select(t.file_set).where(t.file_set.c.tree.is_not(None)).order_by(t.file_set.c.created), since)):
        yield HeldTree(_file_set_label(row.id), RepoType.USER, bytes(row.tree))


def list_layers(txn: Transaction, *, since: dt.datetime | None = None) -> Iterator[HeldLayer]:
    """Every layer of open commits, of file sets and of what was given up, once for each that holds it. `since` as in `list_trees`."""
    staged = sa.select(t.project.c.name.label("project"), t.repo.c.name, t.repo.c.type, t.commit.c.set_id, t.commit_layer.c.layer)
    staged = staged.join_from(t.commit_layer, t.commit).join(t.repo).join(t.project).where(t.commit.c.finished.is_(None)).order_by(t.commit_layer.c.id)
    for row in txn.all(staged):
        yield HeldLayer(_commit_label(row.project, row.name, row.type, row.set_id), bytes(row.layer))
    for row in txn.all(_released(since).where(t.released_tree.c.kind == LAYER)):
        yield HeldLayer(_released_label(row.released), bytes(row.tree))
    sets = sa.select(t.file_set_layer.c.file_set_id, t.file_set_layer.c.layer).join_from(t.file_set_layer, t.file_set)
    for row in txn.all(_unexpired(sets.order_by(t.file_set_layer.c.id), since)):
        yield HeldLayer(_file_set_label(row.file_set_id), bytes(row.layer))


def root_of(held: HeldTree, kept: PipelineTrees) -> Root:
    """A tree as something to walk."""
    tree = TreeRoot.decode(held.tree)
    match held.kind:
        case RepoType.META:
            return Root(DATUM_ROWS, tree, kept.details)
        case kind if kind == RESULTS:
            return Root(kept.results, tree, kept.result_details)
        case _:
            return Root(FILE_ROWS, tree)


def _released(since: dt.datetime | None) -> sa.Select[Any]:
    released = sa.select(t.released_tree).order_by(t.released_tree.c.id)
    return released if since is None else released.where(t.released_tree.c.released >= since)


def _unexpired(statement: sa.Select[tuple[object, ...]], since: dt.datetime | None) -> sa.Select[tuple[object, ...]]:
    return statement if since is None else statement.where(t.file_set.c.expires >= since)


def _commit_label(project: str, repo: str, kind: str, set_id: str) -> str:
    return f"commit '{RepoName(project, repo, RepoType(kind))}@{set_id}'"


def _released_label(released: dt.datetime) -> str:
    return f"what was given up at {released:%Y-%m-%d %H:%M:%S} UTC and is kept for its readers"


def _file_set_label(id: str) -> str:
    return f"file set '{id}'"
