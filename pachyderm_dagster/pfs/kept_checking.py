"""Checking what a store keeps of its record beside the records of commits: the mark that says whose the store is, and the structure."""

from collections.abc import Iterator

import sqlalchemy as sa

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.checking import Change, GiveUp, MarkStore, Problem
from pachyderm_dagster.pfs.store_ids import StoreMark, check_own_store, find_own_store_id, replace_mark
from pachyderm_dagster.pfs.structure import behind, list_keys, load_newest, number_of
from pachyderm_dagster.storage.objects import ObjectStore


def check_kept(database: Database, store: ObjectStore) -> Iterator[Problem]:
    """The problems of what a store keeps; costs a few reads.

    Raises:
        StorageError: `structure-format`; whatever else the store refuses, and UnreachableError.
    """
    try:
        check_own_store(database, store)
    except StorageError as error:
        if error.code not in ("store-of-another", "store-unmarked"):
            raise
        yield Problem(error.code, error.message, MarkStore() if error.code == "store-unmarked" else None)
        if error.code == "store-of-another":
            return
    # Read before the listing what the store must hold, after it what the record has seen: others may save meanwhile.
    saved = _count(database, t.record_state.c.saved)
    keys = list_keys(store)
    changed = _count(database, t.record_state.c.changed)
    newest = number_of(keys)
    if newest > changed:
        yield Problem("record-behind", behind(keys, changed), GiveUp((), structure=newest))
        return
    found, damage = load_newest(store, keys)
    number = 0 if found is None else found.number
    if number < saved:
        reason = damage[0] if damage else f"the newest structure in the store is {number or 'none'}, the record was saved as {saved}"
        yield Problem("structure-lost", f"{reason}; a lost record would be rebuilt without what changed since, or without pipelines", Change(_change_structure))


def mark_again(database: Database, store: ObjectStore) -> None:
    """Writes the mark of a store whose mark is lost or damaged.

    Raises:
        StorageError: `store-of-another`.
    """
    with database.read() as txn:
        own_id = find_own_store_id(txn.connection)
    if own_id is not None:
        replace_mark(store, StoreMark(own_id))


def overtake(txn: Transaction, number: int) -> None:
    """Has the next structure that is saved be newer than structure `number`, which a record that is behind knows nothing of."""
    txn.run(sa.update(t.record_state).where(t.record_state.c.changed < number).values(changed=number))
    _change_structure(txn)


def _change_structure(txn: Transaction) -> None:
    txn.structure_changed = True


def _count(database: Database, column: "sa.Column[int]") -> int:
    with database.read() as txn:
        row = txn.first(sa.select(column))
    return 0 if row is None else int(row[0])
