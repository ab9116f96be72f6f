"""Which store a record belongs to: one, which holds its id under the key `record`. A record that lost everything is told from a new one by its store."""

from collections.abc import Callable

import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.structure import PREFIX, STORE_ID_KEY
from pachyderm_dagster.storage.objects import OBJECTS, ObjectStore


def claim_store(database: Database, open_store: Callable[[], ObjectStore], where: str) -> None:
    """Makes the store that of a new record; costs one query when it is already. `where` names the store in messages.

    Raises:
        StorageError: `record-lost`, when the record is new or empty and the store is not: its record is another one, or was lost.
    """
    if _has_store(database):
        return
    store = open_store()
    # In this order: another process may make the same record its own meanwhile, which writes to the record first.
    used = is_used(store)
    if _has_store(database):
        return
    if used:
        raise StorageError(
            "record-lost",
            f"the record is new or empty, but the store at {where} holds data; if the record was lost, `pachctl fsck --rebuild` makes it again from the store; "
            "otherwise use another PACHYDERM_STORAGE_URL, for a store belongs to one record",
        )
    store.put_new(STORE_ID_KEY, database.write(own).encode())


def is_used(store: ObjectStore) -> bool:
    """Whether the store holds more than the marker of its format."""
    return find_store_id(store) is not None or any(next(iter(store.list(prefix)), None) is not None for prefix in (PREFIX, OBJECTS))


def find_store_id(store: ObjectStore) -> str | None:
    """The id of the record that the store belongs to; None of a store without one."""
    try:
        return store.get(STORE_ID_KEY).decode()
    except NotFoundError:
        return None


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
