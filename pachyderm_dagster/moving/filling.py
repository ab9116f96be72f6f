"""Puts the objects of an extract into a store while it is read, several at once, and its rows aside."""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata.dumping import Batch
from pachyderm_dagster.moving.copying import AT_ONCE, check_object, get_whole, split
from pachyderm_dagster.moving.extracting import End, Listing
from pachyderm_dagster.moving.frames import Frame, FrameKind
from pachyderm_dagster.moving.spool import Spool
from pachyderm_dagster.pfs.transfers import in_order
from pachyderm_dagster.storage.checking import ObjectSizes
from pachyderm_dagster.storage.objects import ObjectBatch, ObjectStore, object_key


def fill(store: ObjectStore, frames: Iterator[Frame], beside: ObjectStore | None, spool: Spool, progress: Callable[[int], None]) -> End:
    """Stores all objects, durable on return, and adds the rows to `spool`. What the store has of them is not stored again.

    Raises:
        StorageError, UnreachableError, NotFoundError: as `read_frames`, `get_whole` and `ObjectStore.keep`.
    """
    filling = _Filling(store, beside, spool)
    batch = store.begin_batch()
    try:
        for size in in_order(filling.steps(frames, batch), AT_ONCE):
            progress(size)
        batch.flush()
    finally:
        batch.stop()
    if filling.end is None or filling.objects != filling.end.objects:
        raise StorageError("extract-corrupt", f"the extract has {filling.objects:,} objects, and not those that its end tells of; extract again")
    return filling.end


class _Filling:
    def __init__(self, store: ObjectStore, beside: ObjectStore | None, spool: Spool) -> None:
        self.end: End | None = None
        self.objects = 0
        self._beside, self._spool = beside, spool
        # What an interrupted restore left; asked once.
        self._there = None if beside is None else ObjectSizes(store)

    def steps(self, frames: Iterator[Frame], batch: ObjectBatch) -> Iterator[Callable[[], int]]:
        """What there is to do for objects, each giving its size."""
        for frame in frames:
            match frame.kind:
                case FrameKind.OBJECT:
                    self.objects += 1
                    yield partial(_keep, batch, frame.name, frame.body)
                case FrameKind.LISTING:
                    yield from self._listed(msgspec.msgpack.decode(frame.body, type=Listing), batch)
                case FrameKind.ROWS:
                    self._spool.add(frame.body, len(msgspec.msgpack.decode(frame.body, type=Batch).rows))
                case FrameKind.END:
                    self.end = msgspec.msgpack.decode(frame.body, type=End)
                case FrameKind.HEADER:
                    raise StorageError("extract-corrupt", f"the extract has a second header at byte {frame.place:,}; extract again")

    def _listed(self, listing: Listing, batch: ObjectBatch) -> Iterator[Callable[[], int]]:
        if self._beside is None or self._there is None:
            raise StorageError("extract-corrupt", "the objects of this extract lie beside it; give the folder or URL that holds both")
        there = self._there.of(listing.ids).tolist()
        for object_id, size, found in zip(split(listing.ids), listing.sizes, there, strict=True):
            self.objects += 1
            yield partial(int, size) if size == found else partial(_copy, self._beside, batch, object_id)


def _keep(batch: ObjectBatch, object_id: bytes, data: bytes) -> int:
    check_object(object_id, data)
    batch.keep(object_key(object_id), data)
    return len(data)


def _copy(source: ObjectStore, batch: ObjectBatch, object_id: bytes) -> int:
    data = get_whole(source, object_id)
    batch.keep(object_key(object_id), data)
    return len(data)
