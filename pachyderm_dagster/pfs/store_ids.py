"""The id that a store and the record it belongs to share: the store holds it under the key `record`."""

from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import NotFoundError, StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.model import is_commit_id
from pachyderm_dagster.storage.objects import ObjectStore

STORE_ID_KEY = "record"
RESTORING_KEY = "restoring"
_TAG = "store-mark"
_NONE = "-"


@dataclass(frozen=True, slots=True)
class StoreMark:
    """Whose a store is.

    Attributes:
        id: that of the record it belongs to.
        previous: that of the record it was taken from by a rebuild.
    """

    id: str
    previous: str | None = None


def encode_mark(mark: StoreMark) -> bytes:
    """The mark as it is stored: both ids and a checksum, with spaces between them."""
    previous = mark.previous or _NONE
    return f"{mark.id} {previous} {_checksum(mark.id, previous)}\n".encode()


def decode_mark(data: bytes) -> StoreMark:
    """The stored mark; earlier releases wrote the id alone.

    Raises:
        StorageError: `store-unmarked`, when it is damaged.
    """
    words = data.decode("ascii", errors="replace").split()
    match words:
        case [id] if is_commit_id(id):
            return StoreMark(id)
        case [id, previous, checksum] if checksum == _checksum(id, previous):
            return StoreMark(id, None if previous == _NONE else previous)
    raise StorageError(
        "store-unmarked",
        f"the object {STORE_ID_KEY!r} in the store, which says to which record the store belongs, is damaged; `pachctl fsck --fix` writes it again",
    )


def find_mark(store: ObjectStore) -> StoreMark | None:
    """Whose the store is; None of a store without a mark.

    Raises:
        StorageError: `store-unmarked`, when the mark is damaged.
    """
    try:
        return decode_mark(store.get(STORE_ID_KEY))
    except NotFoundError:
        return None


def find_store_id(store: ObjectStore) -> str | None:
    """The id of the record that the store belongs to; None of a store without one. Errors as `find_mark`."""
    mark = find_mark(store)
    return None if mark is None else mark.id


def is_marked(store: ObjectStore) -> bool:
    """Whether a store has a mark, which need not be readable."""
    try:
        store.get(STORE_ID_KEY)
    except NotFoundError:
        return False
    return True


def put_mark(store: ObjectStore, mark: StoreMark) -> bool:
    """Marks a store that has no mark; false when it has one."""
    return store.put_new(STORE_ID_KEY, encode_mark(mark))


def replace_mark(store: ObjectStore, mark: StoreMark) -> None:
    """Gives a store another mark. Killed half-way it leaves none, which `fsck` tells of.

    Raises:
        StorageError: `store-of-another`, when somebody else took the store just now.
    """
    store.delete(STORE_ID_KEY)
    if not put_mark(store, mark):
        check_store_id(store, mark.id)


def find_own_store_id(connection: sa.Connection) -> str | None:
    """The id of the store that a record belongs to; None of a record that is new, or older than these ids and not written since."""
    return connection.execute(sa.select(t.record_state.c.store_id)).scalar()


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
        StorageError: as `check_mark`; `store-unmarked`, when the mark is damaged.
    """
    mark = find_mark(store)
    with database.read() as txn:
        state = txn.first(sa.select(t.record_state.c.store_id, t.record_state.c.saved))
    if state is None:
        check_store_id(store, None)
    else:
        check_mark(mark, state.store_id, is_saved=state.saved > 0)


def check_store_id(store: ObjectStore, own: str | None) -> None:
    """Does nothing when the store is that of the record whose id is `own`, or nobody's yet.

    Raises:
        StorageError: as `check_mark`; `store-unmarked`, when the mark is damaged.
    """
    check_mark(find_mark(store), own, is_saved=False)


def check_mark(mark: StoreMark | None, own: str | None, *, is_saved: bool) -> None:
    """Does nothing when a mark is that of the record whose id is `own`, or the store is nobody's yet.

    Args:
        is_saved: the record was saved in its store, which has a mark since.

    Raises:
        StorageError: `store-of-another`; `store-unmarked`, when there is no mark where one must be.
    """
    if mark is None and is_saved and own is not None:
        raise StorageError(
            "store-unmarked",
            f"the store has no object {STORE_ID_KEY!r}, which says that it is the store of this record: check PACHYDERM_STORAGE_URL; if it is right, "
            "`pachctl fsck --fix` writes it again",
        )
    if mark is not None and mark.id != own:
        raise StorageError(
            "store-of-another",
            f"the store belongs to another record: its id is {mark.id}, that of this record {own or 'not given yet'}; nothing was changed in it. "
            "Set PACHYDERM_STORAGE_URL and PACHYDERM_METADATA_URL (or PACHYDERM_HOME) so that they belong together"
            + ("; the other one was rebuilt from the store of this one and goes on with it" if own is not None and mark.previous == own else ""),
        )


def _checksum(id: str, previous: str) -> str:
    return digest(_TAG, [id.encode(), previous.encode()]).hex()


def own_id(database: Database) -> str:
    """The id of a record that has a store, which no other record has; empty while a lost one is made again. A record of an older release is given its own."""

    def change(txn: Transaction) -> None:
        txn.run(sa.update(t.record_state).where(t.record_state.c.store_id.is_(None)).values(store_id=txn.clock.new_id()))

    found = _find_id(database)
    if found is None:
        database.write(change)
        found = _find_id(database)
    return found or ""


def _find_id(database: Database) -> str | None:
    """Empty of a record without a store, None of one that has no id yet."""
    with database.read() as txn:
        row = txn.first(sa.select(t.record_state.c.store_id))
    return "" if row is None else row.store_id
