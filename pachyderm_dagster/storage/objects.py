"""Objects: immutable bytes under a key, and references to ranges of them.

Stores behave alike whatever is behind them; `tests/storage/test_object_stores.py` is the contract. An object is never overwritten
(but by its own undamaged bytes), so a reference stays valid until garbage collection deletes the object.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from pachyderm_dagster.codec import DIGEST_BYTES, Buffer
from pachyderm_dagster.errors import NotFoundError, PachydermError, StorageError

OBJECT_ID_BYTES = DIGEST_BYTES
OBJECTS = "objects"
# How old an object may be that a store without a cheap way to mark it takes for new: the collector's grace must be at least twice this.
RENEW_AFTER = dt.timedelta(minutes=30)
_NAME = re.compile(rf"[0-9a-f]{{{2 * OBJECT_ID_BYTES}}}")


class Ref(msgspec.Struct, frozen=True):
    """A range of bytes of an object.

    Args:
        object: the object's id, 32 bytes.
        offset, length: in bytes.
    """

    object: bytes
    offset: int
    length: int


class ObjectInfo(msgspec.Struct, frozen=True):
    """What a listing says of one key. `size` in bytes, `modified` in UTC."""

    key: str
    size: int
    modified: dt.datetime


class StoredRanges(Protocol):
    """Where ranges of objects are read from: a store, or a store and what is about to go into it."""

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        """As `ObjectStore.get_range`."""
        ...


class ObjectStore(Protocol):
    """Where objects are kept. Keys are segments joined by `/`.

    Every method raises `UnreachableError` when the service behind it does not answer, `StorageError` `storage-denied` when it refuses.
    """

    @property
    def fork_safe(self) -> bool:
        """Whether a forked child may use the store: true where a call is nothing but system calls."""
        ...

    @property
    def time_slack(self) -> dt.timedelta:
        """How much earlier than its last `put_new` or `keep` an object may say that it was modified."""
        ...

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        """Stores `data` (parts are joined) unless `key` exists; false if it did. Durable on return, whole or not at all.

        Raises:
            StorageError: `storage-full`, `storage-failed`.
        """
        ...

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        """Has `data` under `key`, a name that comes from the content, as if stored just now; true when it had to be stored. Durable on return.

        An object that is there is marked as modified now, so that the collector takes it for new (on S3 it is put again once it is `RENEW_AFTER` old).
        One of another size is damaged and is replaced.

        Raises:
            StorageError: `storage-full`, `storage-failed`.
        """
        ...

    def begin_batch(self) -> "ObjectBatch":
        """For keeping many large objects that are to be durable together."""
        ...

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            NotFoundError: `object-not-found`.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        """Exactly `length` bytes from `offset`, which nobody changes: where a client of a service holds them, a view without a copy of them.

        Raises:
            NotFoundError: `object-not-found`.
            StorageError: `object-corrupt`, when the object ends before.
        """
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects below the folder `prefix` (whole segments; empty for all) whose keys are behind `after`, in the order of the keys' bytes.

        It is asked for as it is read: what is not wanted need not be listed.
        """
        ...

    def delete(self, *keys: str) -> None:
        """Removes objects, in their order or many at once; one that does not exist is no error."""
        ...

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        """Removes an object below `objects/` unless it was modified at or after `before`; whether it is gone now and was not before. For the collector alone.

        One that `keep` found and marked stays, whatever the order in which the two come; behind a service the last look and the removal are two requests.
        """
        ...

    def recover(self) -> None:
        """Undoes what a killed `remove_older` left half done."""
        ...


class ObjectBatch(Protocol):
    """Objects on their way into a store. For several threads."""

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        """As `ObjectStore.keep`, but the object need not be readable, or durable, before `flush`. `data` is not needed any more on return."""
        ...

    def flush(self) -> None:
        """Makes everything durable that was kept.

        Raises:
            StorageError: as `ObjectStore.keep`. What could not be made durable is lost: every later `flush` raises too.
        """
        ...

    def stop(self) -> None:
        """Lets go of threads; what was not flushed may or may not be there."""
        ...


class DirectBatch:
    """A batch for stores that gain nothing from one."""

    def __init__(self, keep: Callable[[str, Buffer | Sequence[Buffer]], bool]) -> None:
        self.keep = keep

    def flush(self) -> None:
        """All is durable already."""

    def stop(self) -> None:
        """There is nothing to let go of."""


def object_key(object_id: bytes) -> str:
    """The key of an object: spread over 256 folders by the first byte of its id."""
    name = object_id.hex()
    return f"{OBJECTS}/{name[:2]}/{name}"


def find_object_id(key: str) -> bytes | None:
    """The id of the object that lies at a key; None of a key that no object has, where something of somebody else lies."""
    folder, _, name = key.rpartition("/")
    return parse_object_id(name) if folder == f"{OBJECTS}/{name[:2]}" else None


def parse_object_id(name: str) -> bytes | None:
    """The id that is written as `name`, the last segment of an object's key; None when it is no id."""
    return bytes.fromhex(name) if _NAME.fullmatch(name) else None


def get_ref(store: StoredRanges, ref: Ref) -> Buffer:
    """The bytes that `ref` names; raises as `ObjectStore.get_range` does."""
    return store.get_range(object_key(ref.object), ref.offset, ref.length)


def parts_of(data: Buffer | Sequence[Buffer]) -> Sequence[Buffer]:
    """What `put_new` was given, as a sequence of buffers."""
    return (data,) if isinstance(data, bytes | bytearray | memoryview) else data


def missing_object(key: str) -> NotFoundError:
    """The error for a key that the store does not hold."""
    return NotFoundError("object-not-found", f"object {key!r} is not in the store; restore it from a copy of the store, or check the storage URL")


def corrupt_object(key: str, found: str) -> StorageError:
    """The error for stored bytes that are not what they should be; `found` says what is wrong with them."""
    return StorageError("object-corrupt", f"object {key!r} is corrupt: {found}; restore it from a copy of the store")


def damaged_root(kind: str, found: str) -> StorageError:
    """The error for what a record says of where a tree or a layer lies, when that cannot be read; `found` says what is wrong with it."""
    return StorageError("root-damaged", f"the record does not say where a {kind} lies: {found}; `pachctl fsck` names what holds it, --fix mends what can be")


def is_damage(error: PachydermError) -> bool:
    """Whether an error says that stored bytes are gone or wrong: not that a service does not answer or refuses, or that the bytes are of a newer version."""
    return error.code in ("object-not-found", "object-corrupt", "root-damaged")


def short_object(key: str, size: int, offset: int, length: int) -> StorageError:
    """The error for an object that ends before a range that something refers to."""
    return corrupt_object(key, f"it has {size} bytes where {length} from {offset} should be")
