"""Copies objects from where they are to where they are to be, several at once, each looked at on the way."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pfs.transfers import in_order
from pachyderm_dagster.storage.checking import ObjectSizes
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore, corrupt_object, missing_object, object_key
from pachyderm_dagster.storage.packs import is_whole_pack

# An object has about 16 MiB at most.
AT_ONCE = 6


def ids_of(objects: pa.FixedSizeBinaryArray) -> list[bytes]:
    """Ids of objects in order, as they are copied."""
    return sorted(objects.to_pylist())


def sizes_of(store: ObjectStore, ids: list[bytes]) -> list[int]:
    """The sizes of objects that are in a store.

    Raises:
        NotFoundError: `object-not-found`, for the first that is not.
    """
    sizes = ObjectSizes(store).of(b"".join(ids))
    missing = np.flatnonzero(sizes < 0)
    if len(missing):
        raise missing_object(object_key(ids[int(missing[0])]))
    found: list[int] = sizes.tolist()
    return found


def without_present(target: ObjectStore, ids: list[bytes], sizes: list[int]) -> list[bytes]:
    """Those of some objects that a store does not hold in their size."""
    there = ObjectSizes(target).of(b"".join(ids))
    return [ids[at] for at in np.flatnonzero(there != np.array(sizes, np.int64)).tolist()]


def read_objects(store: ObjectStore, ids: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Objects with their ids, in that order. Errors as `get_whole`."""
    yield from in_order((partial(_with_id, store, object_id) for object_id in ids), AT_ONCE)


def copy_objects(source: ObjectStore, keep: Callable[[str, bytes], object], ids: Iterable[bytes]) -> Iterator[int]:
    """Hands objects to `keep`, from several threads; gives the size of each when it is there. Errors as `get_whole`, and those of `keep`."""

    def copy(object_id: bytes) -> int:
        data = get_whole(source, object_id)
        keep(object_key(object_id), data)
        return len(data)

    yield from in_order((partial(copy, object_id) for object_id in ids), AT_ONCE)


def get_whole(store: ObjectStore, object_id: bytes) -> bytes:
    """An object that is what its name says, or a whole pack.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`.
    """
    data = store.get(object_key(object_id))
    check_object(object_id, data)
    return data


def check_object(object_id: bytes, data: bytes) -> None:
    """Does nothing for the bytes of an object as they were written.

    Raises:
        StorageError: `object-corrupt`.
    """
    if content_digest(data) != object_id and not is_whole_pack(data):
        raise corrupt_object(object_key(object_id), "its bytes are neither what its name says nor a pack with a whole index")


def joined(ids: list[bytes]) -> bytes:
    """Ids one behind another."""
    return b"".join(ids)


def split(ids: bytes) -> list[bytes]:
    """The ids that `joined` put one behind another."""
    return [ids[at : at + OBJECT_ID_BYTES] for at in range(0, len(ids), OBJECT_ID_BYTES)]


def _with_id(store: ObjectStore, object_id: bytes) -> tuple[bytes, bytes]:
    return object_id, get_whole(store, object_id)


def is_empty(store: ObjectStore, prefix: str) -> bool:
    """Whether a store holds nothing below a folder."""
    return next(iter(store.list(prefix)), None) is None
