"""Opens the record of a home with what must happen at the end of its transactions; light, for commands that only look."""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.coordination.changes import Changes
from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.coordination.opening import check_coordination_url, open_coordination
from pachyderm_dagster.errors import PachydermError, StorageError, UnreachableError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs.belonging import claim_store
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pfs.store_ids import check_mark, find_mark, own_id
from pachyderm_dagster.pps.jobs import create_jobs
from pachyderm_dagster.pps.recovery import keep
from pachyderm_dagster.pps.stopping import pause_taken
from pachyderm_dagster.settings import Settings, load_settings
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.storage_urls import check_home_url

log = logging.getLogger(__name__)


class StoreOfRecord:
    """The store that belongs to a record, opened when it is first needed: most commands that look, or change a row or two, do without.

    It follows a `Database`: what has changed is kept in the store too, so that a lost record can be made again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: ObjectStore | None = None
        self._own_id: str | None = None

    def open(self) -> ObjectStore:
        """The store, always the same one. Errors as `open_store`."""
        if self._store is None:
            # Imported by name because importing what reads buckets takes as long as a whole command that looks.
            self._store = importlib.import_module("pachyderm_dagster.storage.open_store").open_store(self._url)
        return self._store

    def check(self, database: Database) -> None:
        """Refuses a change when the store is another record's by now, which would not know of it. What was stored for the change lies there already, so that
        a record that takes the store after this check finds it. A store that does not answer now refuses by itself what needs it.

        Raises:
            StorageError: `store-of-another`, `store-unmarked`; InvalidError, StateError, NotFoundError, StorageError: as `open_store`.
        """
        try:
            mark = find_mark(self.open())
        except UnreachableError:
            return
        except StorageError as error:
            if error.code != "store-unmarked":
                raise
            return
        if mark is not None and mark.id == self._own_id:
            return
        with database.read() as txn:
            state = txn.first(sa.select(t.record_state.c.store_id, t.record_state.c.saved))
        if state is None or state.store_id is None:
            return
        check_mark(mark, state.store_id, is_saved=state.saved > 0)
        self._own_id = state.store_id

    def follow(self, database: Database) -> None:
        """Keeps what changed. The change itself is done, so that a store that fails now is no failure of it: the next change, or fsck, makes up for it."""
        try:
            keep(database, self.open())
        except PachydermError as error:
            if error.code == "record-unusable":
                raise StorageError(error.code, f"the change is done, but the record is damaged: {error.message}") from error
            log.warning("the change is done, but not saved in the store for the case that the record is lost: %s; `pachctl fsck --fix` saves it", error)


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one home, how its processes agree, and the way to its store."""

    settings: Settings
    database: Database
    leases: Leases
    changes: Changes
    etcd: EtcdAddress | None
    store: StoreOfRecord


def open_record(environ: Mapping[str, str], *, clock: Clock | None = None, rebuilding: bool = False) -> Record:
    """Opens the record that the settings in `environ` name, and makes it when there is none.

    Args:
        rebuilding: it may be lost, and is not made the record of the store.

    Raises:
        InvalidError: `config-invalid`, `storage-url-invalid`, for settings that cannot be used.
        StateError: `home-version`.
        StorageError: `record-lost`, when it is new or empty and the store is not.
        InvalidError: `extra-missing`.
        UnreachableError, StorageError: as `open_engine`.
    """
    settings = load_settings(environ)
    check_coordination_url(settings.coordination_url, settings.etcd)
    check_home_url(settings.storage_url)
    store = StoreOfRecord(settings.storage_url)
    # For what the store never knows of: a claim to it, and leases, which must not wait for a store that does not answer.
    apart = Database(open_engine(settings.metadata_url), clock or SystemClock())
    try:
        if not rebuilding:
            claim_store(apart, store.open, settings.storage_url)
        coordination = open_coordination(settings.coordination_url, settings.etcd, apart, lambda: own_id(apart))
    except PachydermError:
        apart.close()
        raise
    finishers = (pause_taken, propagate, create_jobs)
    database = Database(apart.engine, apart.clock, finishers, precede=store.check, announce=coordination.changes.announce, follow=store.follow)
    return Record(settings, database, coordination.leases, coordination.changes, coordination.etcd, store)
