"""Reads small files, of which there may be many thousands: below the buffered and the raw files of Python, which take longer than all else."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES

BATCH_BYTES = 256 * 1024
"""So much is stored at once: what is done for many files together takes a fraction of the time."""
_FILE_OVERHEAD_BYTES = 1024  # what a file counts beside its bytes
_READ_BYTES = 64 * 1024

Found = TypeVar("Found")


def read_small(descriptor: int) -> bytes | None:
    """What is in a file from its position on; None if that is too much for a pack.

    Raises:
        OSError: it cannot be read.
    """
    pieces = []
    size = 0
    # A file system may give less than there is, so only an empty read is the end.
    while size < MIN_CHUNK_BYTES and (piece := os.read(descriptor, _READ_BYTES)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces) if size < MIN_CHUNK_BYTES else None


def in_batches(files: Iterable[Found]) -> Iterator[list[Found]]:
    """The same, in lists of about `BATCH_BYTES`; what is no small file's bytes has none."""
    batch: list[Found] = []
    size = 0
    for file in files:
        batch.append(file)
        size += _FILE_OVERHEAD_BYTES + (len(file) if isinstance(file, bytes) else 0)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
