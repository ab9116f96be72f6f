"""Rows on their way, kept compressed: in memory while they are few, then in a file without a name."""

import struct
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

from pachyderm_dagster.storage.system_errors import storage_errors

_IN_MEMORY_BYTES = 16 << 20
_HEAD = struct.Struct("<III")
_ZSTD = pa.Codec("zstd", compression_level=1)


class Spool:
    """Batches of rows, written once and read as often as needed. A context manager."""

    def __init__(self) -> None:
        self.rows = 0
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, prefix="pachyderm-rows-")  # noqa: SIM115 - this is the context manager

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, batch: bytes, rows: int) -> None:
        """Takes an encoded batch of so many rows.

        Raises:
            StorageError: `storage-full`, when the folder for temporary files is.
        """
        packed = _ZSTD.compress(batch, asbytes=True)
        with storage_errors("write", tempfile.gettempdir()):
            self._file.write(_HEAD.pack(rows, len(batch), len(packed)) + packed)
        self.rows += rows

    def read(self) -> Iterator[tuple[bytes, int]]:
        """The batches in order, each with its number of rows."""
        self._file.seek(0)
        while head := self._file.read(_HEAD.size):
            rows, raw, packed = _HEAD.unpack(head)
            yield _ZSTD.decompress(self._file.read(packed), raw, asbytes=True), rows
