"""Packs: many small blobs in one object.

Layout: the blobs one after another; the index (every blob's id, 32 bytes each, then every blob's length, 8 bytes each);
the footer (magic and version, number of blobs, BLAKE3 of the index). Numbers are unsigned, little endian. The index lets a lost database be
rebuilt from the store; nothing reads it on the way to a blob.
"""

import secrets
import struct
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, repeat

from pachyderm_dagster.codec import DIGEST_BYTES, Buffer, content_digest
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore, Ref, StoredRanges, corrupt_object, object_key
from pachyderm_dagster.storage.own_process import OwnProcess

PACK_BYTES = 16 * 1024 * 1024
_FOOTER = struct.Struct("<8sQ32s")
_MAGIC = b"PDPACK\x00\x01"
_LENGTH_BYTES = 8
_TAIL_BYTES = 16 * 1024  # index and footer of about 400 blobs


class PackWriter:
    """Gathers blobs and stores them as packs of about `target_bytes`; while one is being stored, the next fills.

    A reference that `add` returned may be stored elsewhere only after `flush`. For one thread at a time, and for the process that made it: all but `stop`
    raise StateError `writer-forked` in a forked child, whose pack would have the same id.

    Attributes:
        added_bytes: what the blobs added so far take in packs; it only grows.
    """

    def __init__(self, store: ObjectStore, target_bytes: int = PACK_BYTES) -> None:
        self.added_bytes = 0
        self._process = OwnProcess()
        self._store = store
        self._target_bytes = target_bytes
        self._pool: ThreadPoolExecutor | None = None
        # The pack that is being stored, kept until it is durable, and its storing; None after that failed and `flush` has said so.
        self._full: _Pack | None = None
        self._under_way: Future[None] | None = None
        self._pack = _Pack()

    def add(self, data: Buffer, blob_id: bytes) -> Ref:
        """Takes `data` into the current pack; `blob_id` (32 bytes) is what the pack's index calls it. `data` must not change afterwards."""
        self._make_room()
        self.added_bytes += len(data) + DIGEST_BYTES + _LENGTH_BYTES
        return self._pack.add(data, blob_id)

    def add_many(self, blobs: Sequence[Buffer], blob_ids: Sequence[bytes]) -> Ref:
        """As `add` for many, which lie one behind another. Returns where they all are."""
        self._make_room()
        ref = self._pack.add_many(blobs, blob_ids)
        self.added_bytes += ref.length + len(blobs) * (DIGEST_BYTES + _LENGTH_BYTES)
        return ref

    def take_over(self, other: "PackWriter") -> dict[Ref, Ref]:
        """Takes the blobs that `other` holds and has not begun to store, which it forgets. Returns where each was going to be, and where it will be now."""
        taken = other.release()
        places = map(Ref, repeat(taken.object), taken.offsets, map(len, taken.blobs))
        return {place: self.add(blob, blob_id) for place, blob, blob_id in zip(places, taken.blobs, taken.ids, strict=True)}

    def release(self) -> "_Pack":
        """Gives away the current pack; the next blob begins another."""
        self._process.check()
        released, self._pack = self._pack, _Pack()
        return released

    @property
    def pending_bytes(self) -> int:
        """The size of the blobs that wait for `flush`."""
        return self._pack.size

    def find_pending(self, ref: Ref) -> Buffer | None:
        """The bytes of a blob that is in the current pack; every other can be read from the store when this returns."""
        blob = self._pack.find(ref)
        if blob is None:
            self._await_previous()
        return blob

    def find_range(self, key: str, offset: int, length: int) -> bytes | None:
        """The bytes from `offset` of the object `key` when that is the current pack, as `find_pending`."""
        if key != self._pack.key:
            if self._full is not None and key == self._full.key:
                self._await_previous()
            return None
        return self._pack.read(offset, length)

    def flush(self) -> None:
        """Stores what was added; every reference given out so far is durable on return.

        Raises:
            StorageError: `storage-full` and whatever else `ObjectStore.put_new` raises; `add` and `find_pending` may do so too, and then do it again until
                `flush` has raised. What could not be stored is kept, and stored by the next `flush` that succeeds.
        """
        self._process.check()
        try:
            self._await_previous()
        finally:
            self.stop()
        if self._pack.blobs:
            _put_pack(self._store, self._pack)
            self._pack = _Pack()

    def stop(self) -> None:
        """Lets go of the thread; what is being stored is waited for, and only `flush` tells how that went."""
        if not self._process.is_ours:
            return  # the thread did not come along
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._under_way = None

    def _make_room(self) -> None:
        """Begins another pack when the current one is full."""
        self._process.check()
        if self._pack.size < self._target_bytes:
            return
        self._await_previous()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="packs")
        self._full, self._pack = self._pack, _Pack()
        self._under_way = self._pool.submit(_put_pack, self._store, self._full)

    def _await_previous(self) -> None:
        self._process.check()
        if self._full is None:
            return
        if self._under_way is None:
            _put_pack(self._store, self._full)
        else:
            self._under_way.result()
        self._full = self._under_way = None


class PendingRanges:
    """What a store holds and, above it, the blobs that a pack writer has not stored yet: for reading what the write under way has made."""

    def __init__(self, store: StoredRanges, packs: PackWriter) -> None:
        self._store = store
        self._packs = packs

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        pending = self._packs.find_range(key, offset, length)
        return self._store.get_range(key, offset, length) if pending is None else pending


class _Pack:
    """A pack in memory."""

    def __init__(self) -> None:
        self.object = secrets.token_bytes(OBJECT_ID_BYTES)
        self.key = object_key(self.object)
        self.blobs: list[Buffer] = []
        self.ids: list[bytes] = []
        self.offsets: list[int] = []
        self.size = 0

    def add(self, data: Buffer, blob_id: bytes) -> Ref:
        ref = Ref(self.object, self.size, len(data))
        self.blobs.append(data)
        self.ids.append(blob_id)
        self.offsets.append(self.size)
        self.size += ref.length
        return ref

    def add_many(self, blobs: Sequence[Buffer], blob_ids: Sequence[bytes]) -> Ref:
        *offsets, end = accumulate(map(len, blobs), initial=self.size)
        ref = Ref(self.object, self.size, end - self.size)
        self.blobs += blobs
        self.ids += blob_ids
        self.offsets += offsets
        self.size = end
        return ref

    def find(self, ref: Ref) -> Buffer | None:
        if ref.object != self.object:
            return None
        position = bisect_right(self.offsets, ref.offset) - 1
        return self.blobs[position] if position >= 0 and len(self.blobs[position]) == ref.length else None

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that were added, from one blob or from neighbours."""
        position = max(bisect_right(self.offsets, offset) - 1, 0)
        pieces = []
        while length > 0 and position < len(self.blobs):
            start = offset - self.offsets[position]
            pieces.append(bytes(memoryview(self.blobs[position])[start : start + length]))
            offset += len(pieces[-1])
            length -= len(pieces[-1])
            position += 1
        return b"".join(pieces)


def _put_pack(store: ObjectStore, pack: _Pack) -> None:
    store.put_new(pack.key, [*pack.blobs, encode_index(pack.ids, [len(blob) for blob in pack.blobs])])


def encode_index(ids: Sequence[bytes], lengths: Sequence[int]) -> bytes:
    """The index and the footer of a pack of these blobs."""
    index = b"".join(ids) + struct.pack(f"<{len(lengths)}Q", *lengths)
    return index + _FOOTER.pack(_MAGIC, len(lengths), content_digest(index))


def is_whole_pack(data: bytes) -> bool:
    """Whether an object is a pack whose index is undamaged and tells of all its bytes."""
    if len(data) < _FOOTER.size or not data.startswith(_MAGIC, len(data) - _FOOTER.size):
        return False
    _, count, expected = _FOOTER.unpack(data[-_FOOTER.size :])
    start = len(data) - _FOOTER.size - count * (DIGEST_BYTES + _LENGTH_BYTES)
    index = data[max(start, 0) : -_FOOTER.size]
    return bool(start >= 0 and content_digest(index) == expected and sum(struct.unpack_from(f"<{count}Q", index, count * DIGEST_BYTES)) == start)


def find_pack_index(store: ObjectStore, object_id: bytes, size: int | None = None) -> list[tuple[bytes, Ref]] | None:
    """What a pack holds, as (blob id, where) in the order of writing; None when the object does not end as a pack does.

    Args:
        size: of the object in bytes, as a listing gives it; then only the index and the footer are read, otherwise the whole pack.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`, when the index is damaged.
    """
    key = object_key(object_id)
    if size is None:
        data = store.get(key)
        size = len(data)
    else:
        data = bytes(store.get_range(key, max(size - _TAIL_BYTES, 0), min(size, _TAIL_BYTES)))
    if len(data) < _FOOTER.size or not data.startswith(_MAGIC, len(data) - _FOOTER.size):
        return None
    _, count, expected = _FOOTER.unpack(data[-_FOOTER.size :])
    tail = count * (DIGEST_BYTES + _LENGTH_BYTES) + _FOOTER.size
    if len(data) < tail <= size:
        data = bytes(store.get_range(key, size - tail, tail))
    index = data[max(len(data) - tail, 0) : -_FOOTER.size]
    if tail > size or content_digest(index) != expected:
        raise corrupt_object(key, "its index is damaged")
    lengths = struct.unpack_from(f"<{count}Q", index, count * DIGEST_BYTES)
    entries = []
    offset = 0
    for number, length in enumerate(lengths):
        entries.append((index[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES], Ref(object_id, offset, length)))
        offset += length
    return entries
