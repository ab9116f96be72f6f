"""Restoring: what an extract holds goes into a home that is empty, objects first, then the record in one transaction.

Killed at any moment, it goes on when it is started again with the same extract: a key in the store says that it has begun, and which store it will be.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.metadata.dumping import Batch
from pachyderm_dagster.metadata.engines import connect
from pachyderm_dagster.metadata.failures import translated
from pachyderm_dagster.metadata.loading import Loading, check_blank, check_revision, load
from pachyderm_dagster.metadata.schema import revision_of
from pachyderm_dagster.moving.copying import is_empty
from pachyderm_dagster.moving.extracting import End, Header
from pachyderm_dagster.moving.filling import fill
from pachyderm_dagster.moving.frames import Frame, FrameKind
from pachyderm_dagster.moving.spool import Spool
from pachyderm_dagster.pfs.store_ids import RESTORING_KEY, check_store_id, find_own_store_id, find_restoring, find_store_id
from pachyderm_dagster.pfs.structure import PREFIX as STRUCTURES
from pachyderm_dagster.pps.deletion import delete_pipelines
from pachyderm_dagster.pps.pipelines import list_pipeline
from pachyderm_dagster.pps.recovery import keep
from pachyderm_dagster.settings import Settings
from pachyderm_dagster.storage.objects import OBJECTS, ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.storage_urls import shown
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Place:
    """Where a home is to be: its record, its store."""

    engine: sa.Engine
    store: ObjectStore
    where: str
    """The store, for messages."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """What is done next in a home: nothing but the end, when the record is there already."""

    store_id: str | None
    is_loaded: bool


def restore(settings: Settings, clock: Clock, frames: Iterator[Frame], beside: ObjectStore | None, progress: Callable[[int, int | None], None]) -> Header:
    """Fills the home of some settings with an extract; `finish_restoring` is to follow when its record was opened.

    Args:
        beside: where the objects lie that the extract only lists.
        progress: told of bytes of objects that are there now, and of how many there will be where that is known.

    Raises:
        StateError: `home-not-empty`, `restore-unfinished`, `home-version`; `extract-format`.
        StorageError: `extract-torn`, `extract-corrupt`; `store-of-another`, when an extract without objects is restored beside another store than its own.
        StorageError, UnreachableError, NotFoundError, InvalidError: as `open_store`, `connect` and `ObjectStore.keep`.
    """
    header = _read_header(frames)
    check_revision(header.revision)
    store = open_store(settings.storage_url)
    engine = connect(settings.metadata_url)
    try:
        place = Place(engine, store, shown(settings.storage_url))
        if header.objects is None:
            _load_beside(place, header, frames)
        else:
            _load_with_objects(place, clock, header, frames, beside, progress)
    finally:
        engine.dispose()
    return header


def finish_restoring(workspace: Workspace, *, without_pipelines: bool) -> None:
    """The rest of a restore, which can be done again: pipelines go, and the store gets what is kept of the record. `end_restoring` is to follow.

    Args:
        without_pipelines: what they wrote stays.
    """
    if without_pipelines:
        workspace.database.write(_delete_pipelines)
    keep(workspace.database, workspace.store)


def end_restoring(workspace: Workspace) -> None:
    """The home is whole, and was looked at: from now on a restore does not go on with it."""
    workspace.store.delete(RESTORING_KEY)


def _load_with_objects(
    place: Place, clock: Clock, header: Header, frames: Iterator[Frame], beside: ObjectStore | None, progress: Callable[[int, int | None], None]
) -> None:
    begun = _begin(place, header, clock)
    if begun.is_loaded:
        return
    with Spool() as spool:
        end = fill(place.store, frames, beside, spool, lambda size: progress(size, header.size_bytes))
        _check_end(end, header, spool)
        load(place.engine, _loading(header, spool, lambda connection: _enter(connection, header.written, begun.store_id)))


def _load_beside(place: Place, header: Header, frames: Iterator[Frame]) -> None:
    """A record alone, for the store that it belongs to."""
    with translated(), place.engine.connect() as connection:
        check_blank(connection)
    if find_store_id(place.store) is None:
        raise StateError(
            "restore-objects-missing", f"the extract has no objects, and the store at {place.where} none; name the store that it is of, or extract with objects"
        )
    check_store_id(place.store, header.store_id)
    with Spool() as spool:
        end = fill(place.store, frames, None, spool, lambda _: None)
        _check_end(end, header, spool)
        load(place.engine, _loading(header, spool, lambda _: None))


def _begin(place: Place, header: Header, clock: Clock) -> Restoring:
    """Makes the store say that it is being filled, when nothing is in the home, or goes on with what was interrupted."""
    own = _own_store_id(place.engine)
    begun = find_restoring(place.store)
    if begun is not None:
        extract, store_id = begun
        if extract != header.id:
            raise StateError(
                "restore-unfinished",
                f"a restore of another extract ({extract}) into {place.where} was interrupted; give that one, or remove what is there and begin anew",
            )
        return Restoring(store_id, is_loaded=own == store_id and not _is_blank(place.engine))
    with translated(), place.engine.connect() as connection:
        check_blank(connection)
    found = find_store_id(place.store)
    if found != own or not is_empty(place.store, OBJECTS) or not is_empty(place.store, STRUCTURES):
        raise StateError(
            "home-not-empty", f"the store at {place.where} holds something; restore into a new home, or set PACHYDERM_STORAGE_URL to a place where nothing is"
        )
    store_id = own or clock.new_id()
    place.store.put_new(RESTORING_KEY, f"{header.id} {store_id}".encode())
    return Restoring(store_id, is_loaded=False)


def _enter(connection: sa.Connection, written: dt.datetime, store_id: str | None) -> None:
    """Ties the record to its new store, which holds nothing of it yet; leaves out what had expired when it was extracted."""
    connection.execute(sa.delete(t.file_set).where(t.file_set.c.expires < written))
    connection.execute(sa.update(t.commit).values(recorded=False))
    connection.execute(sa.delete(t.record_state))
    connection.execute(sa.insert(t.record_state).values(id=1, store_id=store_id, changed=1, saved=0))


def _loading(header: Header, spool: Spool, finish: Callable[[sa.Connection], None]) -> Loading:
    batches = (msgspec.msgpack.decode(batch, type=Batch) for batch, _ in spool.read())
    return Loading(header.revision, batches, header.last_rows, finish)


def _read_header(frames: Iterator[Frame]) -> Header:
    first = next(frames)
    if first.kind is not FrameKind.HEADER:
        raise StorageError("extract-corrupt", "the extract does not begin with its header; extract again")
    return msgspec.msgpack.decode(first.body, type=Header)


def _check_end(end: End, header: Header, spool: Spool) -> None:
    for what, found, wanted in (("rows", spool.rows, end.rows), ("objects", header.objects or 0, end.objects)):
        if found != wanted:
            raise StorageError("extract-corrupt", f"the extract holds {found:,} {what} where {wanted:,} should be; extract again")


def _own_store_id(engine: sa.Engine) -> str | None:
    """The id of the store that a record belongs to, if there is a record and it has one."""
    with translated(), engine.connect() as connection:
        return None if revision_of(connection) is None else find_own_store_id(connection)


def _delete_pipelines(txn: Transaction) -> None:
    delete_pipelines(txn, [pipeline.name for pipeline in list_pipeline(txn)], force=True, keep_repo=True)


def _is_blank(engine: sa.Engine) -> bool:
    with translated(), engine.connect() as connection:
        try:
            check_blank(connection)
        except StateError:
            return False
    return True
