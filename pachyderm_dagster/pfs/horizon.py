"""What the collector and the writers agree on: how old an object may be that a transaction begins to refer to (docs/design/0007)."""

import datetime as dt

import sqlalchemy as sa

from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction

RESULTS = "results"
LAYER = "layer"


def check_not_collected(txn: Transaction, since: dt.datetime) -> None:
    """To be called by a transaction that refers to objects which the caller stored, or found in what others had stored, from `since` on.

    Raises:
        ConflictError: `write-collected`, when they may be gone.
    """
    if is_collected(txn, since):
        raise ConflictError(
            "write-collected",
            f"what was stored since {since:%Y-%m-%d %H:%M:%S} UTC may have been collected as garbage meanwhile, so nothing was changed; write it again, "
            "and collect with a --grace that is longer than the longest write",
        )


def is_collected(txn: Transaction, since: dt.datetime) -> bool:
    """Whether what was stored since then, and what nothing refers to, may be gone."""
    found = find_horizon(txn)
    return found is not None and found > since


def find_horizon(txn: Transaction) -> dt.datetime | None:
    """Objects that were last stored before this time, and that nothing referred to, may be gone; None when nothing was ever collected."""
    row = txn.first(sa.select(t.collection.c.horizon))
    return None if row is None else row.horizon


def move_horizon(txn: Transaction, horizon: dt.datetime) -> None:
    """Lets no transaction after this one refer to what was stored before `horizon`."""
    found = find_horizon(txn)
    if found is None:
        txn.run(sa.insert(t.collection).values(id=1, horizon=horizon))
    elif found < horizon:
        txn.run(sa.update(t.collection).values(horizon=horizon))


def release_commits(txn: Transaction, chosen: sa.Select[tuple[int]]) -> None:
    """Keeps the content of commits, by their rows, for those who still read it: to be called before it is given up. What is staged on open ones too."""
    rows = sa.select(t.repo.c.type, t.commit.c.tree, sa.literal(txn.clock.now(), t.UtcDateTime())).join_from(t.commit, t.repo)
    rows = rows.where(t.commit.c.id.in_(chosen), t.commit.c.tree.is_not(None))
    txn.run(sa.insert(t.released_tree).from_select(["kind", "tree", "released"], rows))
    release_layers(txn, chosen)


def release_layers(txn: Transaction, chosen: sa.Select[tuple[int]]) -> None:
    """Keeps what is staged on open commits, by their rows, for those who read it and who may be copying what the commit will not hold."""
    rows = sa.select(sa.literal(LAYER, sa.Text()), t.commit_layer.c.layer, sa.literal(txn.clock.now(), t.UtcDateTime()))
    txn.run(sa.insert(t.released_tree).from_select(["kind", "tree", "released"], rows.where(t.commit_layer.c.commit_id.in_(chosen))))


def release_results(txn: Transaction, pipeline_id: int) -> None:
    """Keeps the results of a pipeline for those who still read them: to be called before it is deleted."""
    row = txn.first(sa.select(t.pipeline.c.results).where(t.pipeline.c.id == pipeline_id, t.pipeline.c.results.is_not(None)))
    if row is not None:
        txn.insert(t.released_tree, kind=RESULTS, tree=row.results, released=txn.clock.now())
