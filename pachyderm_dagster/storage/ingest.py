"""Bulk import of files from disk: small ones are read, hashed and packed in forked children, large ones streamed."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate

import msgspec
import numpy as np
import pyarrow as pa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.file_columns import ContentColumns, join_contents, pack_small
from pachyderm_dagster.storage.forked import run_forked, split_parts
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.rows import CONTENT_FIELDS, columns_array, content_array
from pachyderm_dagster.storage.small_files import in_batches, read_small

_FILES_PER_PROCESS = 1000  # below that a fork costs more than it saves
_FLAGS = os.O_RDONLY | os.O_CLOEXEC


class _Packed(msgspec.Struct):
    """What one process packed.

    Args:
        small: the contents of the small files, in the order of their paths.
        large: the positions of the others among the paths.
        stored_bytes: what that adds to the store.
    """

    small: ContentColumns
    large: list[int]
    stored_bytes: int


def ingest_files(store: ObjectStore, paths: Sequence[str], count_stored: Callable[[int], None] = lambda _: None) -> pa.Table:
    """Stores the files at `paths`; durable on return.

    Args:
        count_stored: told how many bytes that added to the store; chunks that were there already add nothing.

    Returns:
        A row a path, in the same order: size, hash and refs, as file rows have them.

    Raises:
        InvalidError: `file-unreadable`.
        StorageError: `storage-full` and whatever else `ObjectStore.put_new` raises.
    """
    parts = split_parts(paths, _FILES_PER_PROCESS) if store.fork_safe else [paths]
    packed = [msgspec.msgpack.decode(answer, type=_Packed) for answer in run_forked(partial(_pack_files, store), parts)]
    count_stored(sum(part.stored_bytes for part in packed))
    contents = pa.concat_arrays([columns_array(part.small) for part in packed])
    starts = accumulate(map(len, parts), initial=0)
    large = [start + position for start, part in zip(starts, packed, strict=False) for position in part.large]
    if large:
        streamed = content_array(_write_large(store, [paths[position] for position in large], count_stored))
        small = np.delete(np.arange(len(paths)), large)
        contents = pa.concat_arrays([contents, streamed]).take(pa.array(np.argsort(np.concatenate([small, large]))))
    return pa.Table.from_arrays(contents.flatten(), schema=pa.schema(CONTENT_FIELDS))


def _pack_files(store: ObjectStore, paths: Sequence[str]) -> bytes:
    """Packs the small files among `paths`; runs in forked children."""
    writer = PackWriter(store)
    small: list[ContentColumns] = []
    large: list[int] = []
    first = 0
    for found in in_batches(map(_read_small, paths)):
        large += [first + position for position, data in enumerate(found) if data is None]
        small.append(pack_small(writer, [data for data in found if data is not None]))
        first += len(found)
    writer.flush()
    return msgspec.msgpack.encode(_Packed(join_contents(small), large, writer.added_bytes))


def _read_small(path: str) -> bytes | None:
    """What is in the file; None if that is too much for a pack."""
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            return read_small(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from error


def _write_large(store: ObjectStore, paths: Iterable[str], count_stored: Callable[[int], None]) -> list[Content]:
    contents = []
    with ContentWriter(store) as writer:
        for path in paths:
            try:
                file = open(path, "rb", buffering=0)  # noqa: SIM115 -- only the opening may be the source's fault
            except OSError as error:
                raise _unreadable(path, error) from error
            with file:
                contents.append(writer.write_stream(file))
    count_stored(writer.stored_bytes)
    return contents


def _unreadable(path: str, error: OSError) -> InvalidError:
    return InvalidError("file-unreadable", f"cannot read {path}: {error.strerror}; check that it is a file and that you may read it")
