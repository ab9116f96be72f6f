"""Walking from a commit to its ancestors, in the record."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction


def list_ancestor(txn: Transaction, commit_id: int, *, down_to: int = 0) -> list[int]:
    """The rows of a commit and its ancestors, newest first; with `down_to` only until that row: a parent's row is lower than its children's."""
    chain = sa.select(t.commit.c.id, t.commit.c.parent_id, sa.literal(0).label("depth")).where(t.commit.c.id == commit_id).cte(recursive=True)
    above = sa.select(t.commit.c.id, t.commit.c.parent_id, chain.c.depth + 1).where(t.commit.c.id == chain.c.parent_id, chain.c.parent_id >= down_to)
    chain = chain.union_all(above)
    return [int(row.id) for row in txn.all(sa.select(chain.c.id).order_by(chain.c.depth))]


def find_readable(txn: Transaction, commit_id: int | None) -> sa.Row[Any] | None:
    """The nearest commit, from this one backwards, that is finished without an error: `id`, `tree`, `size_bytes`. One query, however far it is."""
    return None if commit_id is None else txn.first(_readable(t.commit.c.id == commit_id))


def find_readables(txn: Transaction, commit_ids: sa.Select[tuple[int | None]]) -> Mapping[int, sa.Row[Any]]:
    """For each of the commits that are selected what `find_readable` gives, but for those without any. One query, however many there are."""
    return {row.start: row for row in txn.all(_readable(t.commit.c.id.in_(commit_ids)))}


def _readable(chosen: sa.ColumnElement[bool]) -> sa.Select[Any]:
    readable = sa.and_(t.commit.c.finished.is_not(None), t.commit.c.error.is_(None)).label("readable")
    chain = sa.select(t.commit.c.id.label("start"), t.commit.c.id, t.commit.c.parent_id, readable).where(chosen).cte(recursive=True)
    above = sa.select(chain.c.start, t.commit.c.id, t.commit.c.parent_id, readable).where(t.commit.c.id == chain.c.parent_id, sa.not_(chain.c.readable))
    chain = chain.union_all(above)
    return sa.select(chain.c.start, t.commit.c.id, t.commit.c.tree, t.commit.c.size_bytes).join(chain, t.commit.c.id == chain.c.id).where(chain.c.readable)
