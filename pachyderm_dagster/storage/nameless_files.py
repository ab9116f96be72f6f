"""Files without a name: for what does not fit into memory, seen by nobody else, and gone with the process however that ends."""

import mmap
import os
import tempfile
import weakref
from pathlib import Path

from pachyderm_dagster.codec import Buffer


class NamelessFile:
    """A file to append to; it goes with this object.

    Args:
        folder: on whose file system it is; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            self._descriptor = os.dup(file.fileno())
        self.size = 0
        weakref.finalize(self, os.close, self._descriptor)

    def append(self, data: Buffer) -> None:
        """Writes behind all else."""
        left = memoryview(data).cast("B")
        while left:
            written = os.pwrite(self._descriptor, left, self.size)
            self.size += written
            left = left[written:]

    def read(self, start: int, length: int) -> bytes:
        """Some bytes."""
        return os.pread(self._descriptor, length, start)

    def map(self) -> mmap.mmap:
        """All of it, which is not empty, as if it were in memory; to be read only. It stays when this object goes."""
        return mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)
