"""The id that a store and the record it belongs to share: the store holds it under the key `record`."""

import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.storage.objects import ObjectStore

STORE_ID_KEY = "record"


def find_store_id(store: ObjectStore) -> str | None:
    """The id of the record that the store belongs to; None of a store without one."""
    try:
        return store.get(STORE_ID_KEY).decode()
    except NotFoundError:
        return None


def check_own_store(database: Database, store: ObjectStore) -> None:
    """To be called before anything is removed from a store for the record not knowing of it; costs one GET.

    Raises:
        StorageError: as `check_store_id`.
    """
    with database.read() as txn:
        row = txn.first(sa.select(t.record_state.c.store_id))
    check_store_id(store, None if row is None else row.store_id)


def check_store_id(store: ObjectStore, own: str | None) -> None:
    """Does nothing when the store is that of the record whose id is `own`, or nobody's yet.

    Raises:
        StorageError: `store-of-another`.
    """
    found = find_store_id(store)
    if found is not None and found != own:
        raise StorageError(
            "store-of-another",
            f"the store belongs to another record: its id is {found}, that of this record {own or 'not given yet'}; nothing was changed in it. "
            "Set PACHYDERM_STORAGE_URL and PACHYDERM_METADATA_URL (or PACHYDERM_HOME) so that they belong together",
        )
