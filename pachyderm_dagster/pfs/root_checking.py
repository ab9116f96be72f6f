"""Checking the columns that say where content lies: each root and layer can be read, and a commit's size is that of its root."""

from collections.abc import Iterator

import sqlalchemy as sa

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.checking import Change, MendRoot, Problem
from pachyderm_dagster.pfs.horizon import LAYER
from pachyderm_dagster.pfs.staging import layer_ref
from pachyderm_dagster.storage.tree_reading import TreeRoot


def check_roots(txn: Transaction) -> Iterator[Problem]:
    """The problems of a record with what it says of content; the store is not looked at. Layers are only looked at where nothing is lost with them."""
    yield from _commits(txn)
    for row in txn.all(sa.select(t.pipeline.c.id, t.pipeline.c.name, t.pipeline.c.results).where(t.pipeline.c.results.is_not(None))):
        if find_root(row.results) is None:
            repair = _change(sa.update(t.pipeline).where(t.pipeline.c.id == row.id).values(results=None))
            yield Problem(
                "root-damaged", f"what pipeline '{row.name}' has done cannot be found; without it the next job runs every datum that it cannot skip", repair
            )
    for row in txn.all(sa.select(t.job.c.id, t.job.c.set_id, t.job.c.checkpoint).where(t.job.c.checkpoint.is_not(None))):
        if find_root(row.checkpoint) is None:
            repair = _change(sa.update(t.job).where(t.job.c.id == row.id).values(checkpoint=None))
            yield Problem("root-damaged", f"what a job of set {row.set_id} has done so far cannot be found", repair)
    for row in txn.all(sa.select(t.file_set.c.id, t.file_set.c.tree).where(t.file_set.c.tree.is_not(None))):
        if find_root(row.tree) is None:
            repair = _change(sa.delete(t.file_set).where(t.file_set.c.id == row.id))
            yield Problem("root-damaged", f"the content of file set '{row.id}' cannot be found", repair)
    for row in txn.all(sa.select(t.released_tree)):
        if not (_is_layer(row.tree) if row.kind == LAYER else find_root(row.tree)):
            repair = _change(sa.delete(t.released_tree).where(t.released_tree.c.id == row.id))
            yield Problem("root-damaged", f"what was given up at {row.released:%Y-%m-%d %H:%M:%S} UTC cannot be found any more", repair)


def find_root(encoded: bytes) -> TreeRoot | None:
    """The root that a column holds; None when it cannot be read."""
    try:
        return TreeRoot.decode(bytes(encoded))
    except StorageError:
        return None


def _commits(txn: Transaction) -> Iterator[Problem]:
    statement = sa.select(t.commit.c.id, t.commit.c.tree, t.commit.c.size_bytes, t.commit.c.finished, t.commit.c.forgotten)
    for row in txn.connection.execute(statement.order_by(t.commit.c.id)).all():
        root = None if row.tree is None else find_root(row.tree)
        if root is not None and root.size_bytes != row.size_bytes:
            repair = _change(sa.update(t.commit).where(t.commit.c.id == row.id).values(size_bytes=root.size_bytes))
            yield Problem("size", f"commit '{commits.get_commit(txn, row.id)}' says that it has {row.size_bytes} bytes and has {root.size_bytes}", repair)
        elif root is None and row.tree is not None:
            yield _lost(txn, row.id, "what the record says of it cannot be read")
        elif root is None and row.size_bytes and row.finished is not None and not row.forgotten:
            yield _lost(txn, row.id, f"it has {row.size_bytes} bytes, and the record does not say where")


def _lost(txn: Transaction, commit_id: int, found: str) -> Problem:
    message = f"the content of commit '{commits.get_commit(txn, commit_id)}' cannot be found: {found}"
    return Problem("root-damaged", message, MendRoot(commit_id))


def _is_layer(staged: bytes) -> bool:
    try:
        layer_ref(bytes(staged))
    except StorageError:
        return False
    return True


def _change(statement: sa.Update | sa.Delete) -> Change:
    return Change(lambda txn: txn.run(statement))
