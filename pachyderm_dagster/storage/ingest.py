"""Bulk import of files from disk: small ones are read, hashed and packed in forked children, large ones streamed."""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate

import msgspec
import numpy as np
import pyarrow as pa

from pachyderm_dagster.codec import DIGEST_BYTES, content_digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.forked import run_forked, split_parts
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.rows import CONTENT_FIELDS, HASH_TYPE, REF_TYPE, REFS_TYPE, content_array, fixed_array
from pachyderm_dagster.storage.small_files import BYTES_TOGETHER, FILE_COST, read_small

_FILES_PER_PROCESS = 1000  # below that a fork costs more than it saves
_LARGE = -1
_NO_ID = bytes(OBJECT_ID_BYTES)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC


class _Packed(msgspec.Struct):
    """Small files that one process packed, as columns of 8-byte integers and 32-byte ids, a row a file.

    A large file has the size `_LARGE`. `packs` holds each pack's id with the first row that is in it.
    """

    sizes: bytes
    offsets: bytes
    hashes: bytes
    packs: list[tuple[int, bytes]]


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
    answers = run_forked(partial(_pack_files, store), parts)
    tables = [_table_of(msgspec.msgpack.decode(answer, type=_Packed)) for answer in answers]
    table = pa.concat_tables(tables).combine_chunks()
    large = np.flatnonzero(table.column("size").to_numpy() == _LARGE)
    if not len(large):
        return table
    count_stored(_packed_bytes(table))
    contents = _write_large(store, [paths[position] for position in large.tolist()], count_stored)
    places = np.arange(len(paths))
    places[large] = len(paths) + np.arange(len(large))
    streamed = pa.Table.from_arrays(content_array(contents).flatten(), schema=table.schema)
    return pa.concat_tables([table, streamed]).take(pa.array(places))


def _pack_files(store: ObjectStore, paths: Sequence[str]) -> bytes:
    """Packs the small files among `paths`; runs in forked children."""
    writer = PackWriter(store)
    sizes: list[int] = []
    offsets: list[int] = []
    hashes: list[bytes] = []
    packs: list[tuple[int, bytes]] = []
    for found in _read_together(paths):
        ids = [_NO_ID if data is None else content_digest(data) for data in found]
        lengths = [0 if data is None else len(data) for data in found]
        ref = writer.add_many([data for data in found if data], [own_id for own_id, length in zip(ids, lengths, strict=True) if length])
        if not packs or packs[-1][1] != ref.object:
            packs.append((len(sizes), ref.object))
        offsets += accumulate(lengths[:-1], initial=ref.offset)
        sizes += [_LARGE if data is None else len(data) for data in found]
        hashes += ids
    writer.flush()
    numbers = struct.Struct(f"<{len(sizes)}q")
    return msgspec.msgpack.encode(_Packed(numbers.pack(*sizes), numbers.pack(*offsets), b"".join(hashes), packs))


def _read_together(paths: Sequence[str]) -> Iterator[list[bytes | None]]:
    """What is in the files, as `read_small` gives it, some at a time."""
    found: list[bytes | None] = []
    size = 0
    for path in paths:
        data = _read_small(path)
        found.append(data)
        size += FILE_COST if data is None else len(data) + FILE_COST
        if size >= BYTES_TOGETHER:
            yield found
            found, size = [], 0
    if found:
        yield found


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


def _packed_bytes(table: pa.Table) -> int:
    """What the small files of a table take in packs: their bytes, and an id and a length each."""
    sizes = table.column("size").to_numpy()
    small = sizes[sizes > 0]
    return int(small.sum()) + len(small) * (DIGEST_BYTES + 8)


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


def _table_of(packed: _Packed) -> pa.Table:
    """The rows of what one process packed; large files are left without references."""
    sizes = np.frombuffer(packed.sizes, dtype="<i8")
    has_ref = sizes > 0
    ends = np.concatenate([[0], np.cumsum(has_ref)]).astype(np.int32)
    firsts = np.array([first for first, _ in packed.packs], dtype=np.int64)
    lengths = np.diff(np.append(ends[firsts], ends[-1]))
    objects = b"".join(pack * length for (_, pack), length in zip(packed.packs, lengths.tolist(), strict=True))
    places = pa.StructArray.from_arrays(
        [
            fixed_array(objects, HASH_TYPE),
            pa.array(np.frombuffer(packed.offsets, dtype="<i8")[has_ref]),
            pa.array(sizes[has_ref]),
        ],
        fields=list(REF_TYPE),
    )
    refs = pa.ListArray.from_arrays(pa.array(ends), places, type=REFS_TYPE)
    return pa.Table.from_arrays([pa.array(sizes), fixed_array(packed.hashes, HASH_TYPE), refs], schema=pa.schema(CONTENT_FIELDS))


def _unreadable(path: str, error: OSError) -> InvalidError:
    return InvalidError("file-unreadable", f"cannot read {path}: {error.strerror}; check that it is a file and that you may read it")
