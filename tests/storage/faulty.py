"""Stores with faults and counters, around a real one."""

import datetime as dt
from collections.abc import Iterator, Sequence

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.objects import DirectBatch, ObjectInfo, ObjectStore, Ref, object_key


class CountingStore:
    """Counts what is asked of the store behind it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.reads = 0
        self.bytes_read = 0
        self.writes = 0
        self.bytes_written = 0

    @property
    def fork_safe(self) -> bool:
        return False  # a child's counts would be lost

    @property
    def time_slack(self) -> dt.timedelta:
        return self._store.time_slack

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        body = data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)
        created = self._store.put_new(key, body)
        self.writes += created
        self.bytes_written += len(body) * created
        return created

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        body = data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)
        stored = self._store.keep(key, body)
        self.writes += stored
        self.bytes_written += len(body) * stored
        return stored

    def begin_batch(self) -> DirectBatch:
        return DirectBatch(self.keep)

    def get(self, key: str) -> bytes:
        data = self._store.get(key)
        self.reads += 1
        self.bytes_read += len(data)
        return data

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        self.reads += 1
        self.bytes_read += length
        return self._store.get_range(key, offset, length)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        return self._store.list(prefix, after=after)

    def delete(self, *keys: str) -> None:
        self._store.delete(*keys)

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        return self._store.remove_older(key, before)

    def recover(self) -> None:
        self._store.recover()


class FullStore(CountingStore):
    """Has no room for anything new."""

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        raise StorageError("storage-full", f"no room for {key}")

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        raise StorageError("storage-full", f"no room for {key}")


class FillingStore(CountingStore):
    """Has no room for anything new as long as `full` is set."""

    full = False

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        if self.full:
            raise StorageError("storage-full", f"no room for {key}")
        return super().put_new(key, data)

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        if self.full:
            raise StorageError("storage-full", f"no room for {key}")
        return super().keep(key, data)


def replace_object(store: ObjectStore, key: str, data: bytes) -> None:
    """Damages an object: what no store does by itself."""
    store.delete(key)
    assert store.put_new(key, data)


def flip_byte(store: ObjectStore, ref: Ref, position: int) -> None:
    """Changes one byte of what `ref` names."""
    key = object_key(ref.object)
    data = bytearray(store.get(key))
    data[ref.offset + position] ^= 0xFF
    replace_object(store, key, bytes(data))
