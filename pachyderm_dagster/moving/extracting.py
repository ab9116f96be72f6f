"""Extracts: all that a home holds, as frames. One look at the record says what it is; its objects follow while others go on writing."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.coordination.leases import hold
from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.metadata.counting import last_rows
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.metadata.dumping import OF_ITS_STORE, PASSING, dump
from pachyderm_dagster.metadata.schema import SCHEMA_REVISION
from pachyderm_dagster.moving.copying import ids_of, joined, read_objects, sizes_of
from pachyderm_dagster.moving.frames import Frame, FrameKind
from pachyderm_dagster.moving.spool import Spool
from pachyderm_dagster.pfs.collecting import LEASE
from pachyderm_dagster.pfs.marking import mark
from pachyderm_dagster.pfs.roots import HeldTree, list_layers, list_trees
from pachyderm_dagster.pfs.store_ids import check_own_store, find_own_store_id
from pachyderm_dagster.pps.reachable_details import PIPELINE_TREES
from pachyderm_dagster.workspace import Workspace

_LISTED_AT_ONCE = 10_000


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame: where an extract is from, and what there is to know before the rest.

    Args:
        id: of the extract, so that a restore that was interrupted knows its own.
        revision: the schema that the rows are of.
        last_rows: of each table the greatest row id that it ever gave.
        store_id: that of the store beside the record.
        objects, size_bytes: how many there are, and their sizes; None where they were left out.
    """

    id: str
    written: dt.datetime
    revision: str
    last_rows: dict[str, int]
    store_id: str | None
    objects: int | None
    size_bytes: int | None


class Listing(msgspec.Struct, frozen=True):
    """Objects that lie beside an extract: their ids, joined, and their sizes."""

    ids: bytes
    sizes: list[int]


class End(msgspec.Struct, frozen=True):
    """The last frame: how much there was."""

    objects: int
    rows: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """One look at a home.

    Attributes:
        header: what begins the extract.
        ids, sizes: of the objects that it needs, in the order of their ids.
        check: raises when an object may have been collected meanwhile.
    """

    workspace: Workspace
    header: Header
    ids: list[bytes]
    sizes: list[int]
    check: Callable[[], None]
    _spool: Spool

    def frames(self, *, objects_inside: bool, progress: Callable[[int], None]) -> Iterator[Frame]:
        """The extract. `progress` is told of the bytes of objects.

        Args:
            objects_inside: with the objects; otherwise with a list of them, for who copies them beside it.

        Raises:
            ConflictError: `collection-running`.
            NotFoundError, StorageError, UnreachableError: as `get_whole`.
        """
        yield _frame(FrameKind.HEADER, self.header)
        if objects_inside:
            for object_id, data in read_objects(self.workspace.store, self.ids):
                self.check()
                yield Frame(FrameKind.OBJECT, object_id, data)
                progress(len(data))
        else:
            for start in range(0, len(self.ids), _LISTED_AT_ONCE):
                part = slice(start, start + _LISTED_AT_ONCE)
                yield _frame(FrameKind.LISTING, Listing(joined(self.ids[part]), self.sizes[part]))
        rows = 0
        for batch, count in self._spool.read():
            yield Frame(FrameKind.ROWS, b"", batch)
            rows += count
        yield _frame(FrameKind.END, End(len(self.ids), rows))


@contextlib.contextmanager
def extracting(workspace: Workspace, *, with_objects: bool, id: str | None = None) -> Iterator[Extraction]:
    """Looks at a home, and keeps the collector away while what was seen is copied.

    Args:
        with_objects: all that the record refers to; otherwise the record alone, for a store that stays as it is.
        id: of the extract; a new one when None.

    Raises:
        ConflictError: `collection-running`.
        NotFoundError: `object-not-found`, StorageError: `object-corrupt`, when the store lacks something.
        StorageError, UnreachableError: when record or store refuse or do not answer; `store-of-another`.
    """
    check_own_store(workspace.database, workspace.store)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(hold(workspace.leases, LEASE, workspace.database.clock.new_id()))
        if held is None:
            raise ConflictError("collection-running", "another process is collecting garbage, or extracts this home; try again when it is done")

        def check() -> None:
            if held.is_lost():
                raise ConflictError("collection-running", "this process lost its claim on the objects, which may be collected now; extract again")

        spool = stack.enter_context(Spool())
        with workspace.database.read() as txn:
            for batch in dump(txn, without=PASSING | OF_ITS_STORE if with_objects else PASSING):
                spool.add(msgspec.msgpack.encode(batch), len(batch.rows))
            header = _header(txn, id)
            trees, layers = _held(txn, header.written) if with_objects else ({}, set())
        reached = mark(workspace.store, trees, layers, PIPELINE_TREES, measure=False, check=check)
        ids = ids_of(reached.objects()) if with_objects else []
        sizes = sizes_of(workspace.store, ids) if ids else []
        amounts = {"objects": len(ids), "size_bytes": sum(sizes)} if with_objects else {}
        yield Extraction(workspace, msgspec.structs.replace(header, **amounts), ids, sizes, check, spool)


def _held(txn: Transaction, now: dt.datetime) -> tuple[dict[tuple[str, bytes], HeldTree], set[bytes]]:
    """Trees and layers that the record refers to, but for what was given up or has expired: who still reads that does so here."""
    trees = {(held.kind, held.tree): held for held in list_trees(txn, since=now)}
    return trees, {held.layer for held in list_layers(txn, since=now)}


def _header(txn: Transaction, id: str | None) -> Header:
    return Header(
        id=id or txn.clock.new_id(),
        written=txn.clock.now(),
        revision=SCHEMA_REVISION,
        last_rows=dict(last_rows(txn.connection)),
        store_id=find_own_store_id(txn.connection),
        objects=None,
        size_bytes=None,
    )


def _frame(kind: FrameKind, content: msgspec.Struct) -> Frame:
    return Frame(kind, b"", msgspec.msgpack.encode(content))
