"""Packs: many small blobs in one object.

Layout: the blobs one after another; the index (every blob's id, 32 bytes each, then every blob's length, 8 bytes each);
the footer (magic and version, number of blobs, BLAKE3 of the index). Numbers are unsigned, little endian. The index lets a lost database be
rebuilt from the store; nothing reads it on the way to a blob.
"""

import secrets
import struct
from bisect import bisect_right

from pachyderm_dagster.codec import DIGEST_BYTES, Buffer, content_digest
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore, Ref, corrupt_object, object_key

PACK_BYTES = 32 * 1024 * 1024
_FOOTER = struct.Struct("<8sQ32s")
_MAGIC = b"PDPACK\x00\x01"
_LENGTH_BYTES = 8


class PackWriter:
    """Gathers blobs and stores them as packs of about `target_bytes`.

    A reference that `add` returned may be stored elsewhere only after `flush`.
    """

    def __init__(self, store: ObjectStore, target_bytes: int = PACK_BYTES) -> None:
        self._store = store
        self._target_bytes = target_bytes
        self._begin()

    def add(self, data: Buffer, blob_id: bytes) -> Ref:
        """Takes `data` into the current pack; `blob_id` (32 bytes) is what the pack's index calls it. `data` must not change afterwards."""
        if self._size >= self._target_bytes:
            self.flush()
        ref = Ref(self._object, self._size, len(data))
        self._blobs.append(data)
        self._ids.append(blob_id)
        self._offsets.append(self._size)
        self._size += ref.length
        return ref

    def find_pending(self, ref: Ref) -> Buffer | None:
        """The bytes of a blob that is not stored yet."""
        if ref.object != self._object:
            return None
        position = bisect_right(self._offsets, ref.offset) - 1
        # Empty blobs share their offset with the one that follows.
        return self._blobs[position] if position >= 0 and len(self._blobs[position]) == ref.length else None

    def flush(self) -> None:
        """Stores what was added; every reference given out so far is durable on return."""
        if not self._blobs:
            return
        lengths = [len(blob) for blob in self._blobs]
        index = b"".join(self._ids) + struct.pack(f"<{len(lengths)}Q", *lengths)
        footer = _FOOTER.pack(_MAGIC, len(lengths), content_digest(index))
        self._store.put_new(object_key(self._object), [*self._blobs, index, footer])
        self._begin()

    def _begin(self) -> None:
        self._object = secrets.token_bytes(OBJECT_ID_BYTES)
        self._blobs: list[Buffer] = []
        self._ids: list[bytes] = []
        self._offsets: list[int] = []
        self._size = 0


def read_pack_index(store: ObjectStore, object_id: bytes) -> list[tuple[bytes, Ref]]:
    """What a pack holds, as (blob id, where) in the order of writing; reads the whole pack.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`, when the object is no pack or is damaged.
    """
    key = object_key(object_id)
    data = store.get(key)
    if len(data) < _FOOTER.size or not data.startswith(_MAGIC, len(data) - _FOOTER.size):
        raise corrupt_object(key, "it does not end as a pack does")
    _, count, expected = _FOOTER.unpack(data[-_FOOTER.size :])
    start = len(data) - _FOOTER.size - count * (DIGEST_BYTES + _LENGTH_BYTES)
    index = data[max(start, 0) : -_FOOTER.size]
    if start < 0 or content_digest(index) != expected:
        raise corrupt_object(key, "its index is damaged")
    lengths = struct.unpack_from(f"<{count}Q", index, count * DIGEST_BYTES)
    entries = []
    offset = 0
    for number, length in enumerate(lengths):
        entries.append((index[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES], Ref(object_id, offset, length)))
        offset += length
    return entries
