"""Bulk export of contents to files on disk, in forked children where the store allows it."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from functools import partial

from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.forked import run_forked, split_parts
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.system_errors import storage_errors

_FILES_PER_PROCESS = 1000  # below that a fork costs more than it saves


def export_files(store: ObjectStore, contents: Sequence[Content], paths: Sequence[str]) -> None:
    """Writes each content to the file at its path, verified; missing folders are made, existing files replaced. Does not fsync.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`; `storage-full`, `storage-denied` or `storage-failed` for the files. Some may have been written by then.
    """
    for folder in sorted({os.path.dirname(path) for path in paths}):
        with storage_errors("make", folder):
            _make_folder(folder)
    files = sorted(zip(contents, paths, strict=True), key=_place)
    run_forked(partial(_write_part, store), split_parts(files, _FILES_PER_PROCESS) if store.fork_safe else [files])


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


def _place(file: tuple[Content, str]) -> tuple[bytes, int]:
    """Where a content begins: in this order neighbours in a pack are read together."""
    refs = file[0].refs
    return (refs[0].object, refs[0].offset) if refs else (b"", 0)


def _write_part(store: ObjectStore, files: Sequence[tuple[Content, str]]) -> bytes:
    """Runs in forked children; has nothing to answer."""
    reader = ContentReader(store)
    small = [file for file in files if file[0].size < MIN_CHUNK_BYTES]
    for (_, path), data in zip(small, reader.read_many([content for content, _ in small]), strict=True):
        _write_file(path, (data,))
    for content, path in files:
        if content.size >= MIN_CHUNK_BYTES:
            _write_file(path, reader.stream(content))
    return b""


def _write_file(path: str, pieces: Iterable[bytes]) -> None:
    with storage_errors("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # a part of a file must not pass for the whole
            raise
        finally:
            os.close(descriptor)
