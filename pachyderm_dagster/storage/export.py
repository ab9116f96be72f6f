"""Bulk export of contents to files on disk, in forked children where the store allows it."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from pachyderm_dagster.codec import Buffer, content_digest
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.content import Content, ContentReader, corrupt_content
from pachyderm_dagster.storage.forked import run_forked, split_parts
from pachyderm_dagster.storage.objects import ObjectStore, Ref
from pachyderm_dagster.storage.ranges import read_ranges
from pachyderm_dagster.storage.rows import contents_of, one_array
from pachyderm_dagster.storage.system_errors import storage_error, storage_errors

_FILES_PER_PROCESS = 1000  # below that a fork costs more than it saves
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC

T = TypeVar("T")

# A file that lies in a pack: object, offset, length, hash, and the path where it goes. A tuple, as there may be very many; sorted, neighbours in a pack are
# neighbours.
_Packed: TypeAlias = tuple[bytes, int, int, bytes, str]


def export_files(store: ObjectStore, rows: pa.Table, paths: Sequence[str]) -> None:
    """Writes each content to the file at its path, verified; missing folders are made, existing files replaced. Does not fsync.

    Args:
        rows: with the columns size, hash and refs, as file rows have them; one a path.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`; `storage-full`, `storage-denied` or `storage-failed` for the files. Some may have been written by then.
    """
    refs = one_array(rows.column("refs"))
    starts = refs.offsets.to_numpy()
    is_packed = (np.diff(starts) == 1) & (rows.column("size").to_numpy() < MIN_CHUNK_BYTES)
    places = refs.values.take(pa.array(starts[:-1][is_packed]))
    packed: list[_Packed] = sorted(
        zip(
            *(places.field(name).to_pylist() for name in ("object", "offset", "length")),
            rows.column("hash").filter(pa.array(is_packed)).to_pylist(),
            _chosen(paths, is_packed),
            strict=True,
        )
    )
    _export(store, _write_packed, packed)
    _export(store, _write_streamed, list(zip(contents_of(rows.filter(pa.array(~is_packed))), _chosen(paths, ~is_packed), strict=True)))


def _chosen(paths: Sequence[str], mask: np.ndarray) -> list[str]:
    return [paths[position] for position in np.flatnonzero(mask).tolist()]


def _export(store: ObjectStore, write: Callable[[ObjectStore, Sequence[T]], bytes], files: Sequence[T]) -> None:
    run_forked(partial(write, store), split_parts(files, _FILES_PER_PROCESS) if store.fork_safe else [files])


def _write_packed(store: ObjectStore, files: Sequence[_Packed]) -> bytes:
    """Runs in forked children; has nothing to answer."""
    refs = [Ref(key, offset, length) for key, offset, length, _, _ in files]
    for (_, _, _, wanted, path), ref, piece in zip(files, refs, read_ranges(store, refs), strict=True):
        if content_digest(piece) != wanted:
            raise corrupt_content(ref)
        _write_file(path, (piece,))
    return b""


def _write_streamed(store: ObjectStore, files: Sequence[tuple[Content, str]]) -> bytes:
    """Runs in forked children; has nothing to answer."""
    reader = ContentReader(store)
    for content, path in files:
        _write_file(path, reader.stream(content))
    return b""


def _write_file(path: str, pieces: Iterable[Buffer]) -> None:
    try:
        descriptor = _open(path)
        try:
            for piece in pieces:
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, piece[written:])
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # a part of a file must not pass for the whole
            raise
        finally:
            os.close(descriptor)
    except PachydermError:
        raise
    except OSError as error:
        raise storage_error("write", path, error) from error


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o666)
    except (FileNotFoundError, NotADirectoryError):
        # Rarely: of many files in a folder only the first finds it missing.
        folder = os.path.dirname(path)
        with storage_errors("make", folder):
            _make_folder(folder)
        return os.open(path, _FLAGS, 0o666)


def _make_folder(folder: str) -> None:
    """`os.makedirs`, which calls itself once a level and gives up on some legal paths."""
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):
        try:
            os.mkdir(one)
        except FileExistsError:
            if not os.path.isdir(one):
                raise
