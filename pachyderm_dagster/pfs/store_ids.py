"""The id that a store and the record it belongs to share: the store holds it under the key `record`."""

import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError, StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.storage.objects import ObjectStore

STORE_ID_KEY = "record"
RESTORING_KEY = "restoring"


def find_store_id(store: ObjectStore) -> str | None:
    """The id of the record that the store belongs to; None of a store without one."""
    try:
        return store.get(STORE_ID_KEY).decode()
    except NotFoundError:
        return None


def find_restoring(store: ObjectStore) -> tuple[str, str] | None:
    """The restore that has begun to fill a store and is not done: the id of the extract, and the id that the store gets."""
    try:
        extract, store_id = store.get(RESTORING_KEY).decode().split()
    except NotFoundError:
        return None
    return extract, store_id


def check_restored(store: ObjectStore, where: str) -> None:
    """Does nothing for a store that no unfinished restore is filling; `where` names it in messages.

    Raises:
        StateError: `restore-unfinished`.
    """
    found = find_restoring(store)
    if found is not None:
        raise StateError(
            "restore-unfinished", f"a restore into the store at {where} was interrupted; `pachctl restore` with the same extract ({found[0]}) goes on with it"
        )


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
