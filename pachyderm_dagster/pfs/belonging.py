"""Which store a record belongs to: one, which holds its id under the key `record`. A record that lost everything is told from a new one by its store."""

from collections.abc import Callable

import sqlalchemy as sa

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.store_ids import StoreMark, check_restored, find_store_id, is_marked, put_mark
from pachyderm_dagster.pfs.structure import PREFIX
from pachyderm_dagster.storage.objects import OBJECTS, ObjectStore


def claim_store(database: Database, open_store: Callable[[], ObjectStore], where: str) -> None:
    """Makes the store that of a new record; costs one query when it is already. `where` names the store in messages.

    Raises:
        StateError: `restore-unfinished`.
        StorageError: `record-lost`, when the record is new or empty and the store is not, or another record is taking it: its record is that one, or was lost.
    """
    if _has_store(database):
        return
    store = open_store()
    check_restored(store, where)
    # In this order: another process may make the same record its own meanwhile, which writes to the record first.
    used = is_used(store)
    if _has_store(database):
        return
    if used:
        raise StorageError(
            "record-lost",
            f"the record is new or empty, but the store at {where} holds data; if the record was lost, `pachctl fsck --rebuild` makes it again from the store, "
            "which then is that record's: another home that still uses the store is refused from then on. "
            "Otherwise use another PACHYDERM_STORAGE_URL, for a store belongs to one record",
        )
    own_id = database.write(own)
    if not put_mark(store, StoreMark(own_id)) and find_store_id(store) != own_id:
        database.write(lambda txn: txn.run(sa.delete(t.record_state).where(t.record_state.c.store_id == own_id)))
        raise StorageError(
            "record-lost", f"another record took the store at {where} meanwhile; use another PACHYDERM_STORAGE_URL, for a store belongs to one record"
        )


def is_used(store: ObjectStore) -> bool:
    """Whether the store holds more than the marker of its format."""
    return is_marked(store) or any(next(iter(store.list(prefix)), None) is not None for prefix in (PREFIX, OBJECTS))


def own(txn: Transaction) -> str:
    """Gives a new record the id that its store gets too; the id."""
    row = txn.first(sa.select(t.record_state.c.store_id))
    if row is not None:
        return str(row.store_id)
    store_id = txn.clock.new_id()
    txn.run(sa.insert(t.record_state).values(id=1, store_id=store_id, changed=0, saved=0))
    return store_id


def _has_store(database: Database) -> bool:
    with database.read() as txn:
        return txn.first(sa.select(t.record_state.c.id)) is not None
