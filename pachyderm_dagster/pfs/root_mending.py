"""Giving commits back the content that the store's own records of them tell of."""

from collections.abc import Collection

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.holdings import read_holdings
from pachyderm_dagster.pfs.root_checking import find_root
from pachyderm_dagster.storage.objects import ObjectStore


def mend_roots(database: Database, store: ObjectStore, commit_ids: Collection[int]) -> set[int]:
    """Restores content and size of commits; returns those of which the store has a record that can be read. Reads the indexes of all packs.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    records = read_holdings(store, lambda _: None).records

    def restore(txn: Transaction) -> set[int]:
        restored = set()
        for row in txn.all(sa.select(t.commit.c.id, t.commit.c.repo_id, t.commit.c.set_id).where(t.commit.c.id.in_(commit_ids))):
            record = records.get((row.repo_id, row.set_id))
            if record is None or record.finished is None or (record.size_bytes if record.tree is None else find_root(record.tree) is None):
                continue
            txn.run(sa.update(t.commit).where(t.commit.c.id == row.id).values(tree=record.tree, size_bytes=record.size_bytes), kept=True)
            restored.add(int(row.id))
        return restored

    return database.write(restore)


def give_up_roots(txn: Transaction, commit_ids: Collection[int], *, error: str) -> None:
    """Says of commits that their content is lost: they hold nothing, and have an error."""
    lost = sa.update(t.commit).where(t.commit.c.id.in_(commit_ids))
    txn.run(lost.values(tree=None, size_bytes=0, error=sa.func.coalesce(t.commit.c.error, error)))
