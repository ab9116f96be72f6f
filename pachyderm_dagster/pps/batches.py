"""Where a row of files is cut into batches, so that a file more or less moves few of the cuts. Design: docs/design/0009."""

import numpy as np
import pyarrow as pa
from blake3 import blake3

from pachyderm_dagster.pps.bundles import Offsets
from pachyderm_dagster.pps.inputs import Batch

_MARK_BYTES = 8


def batch_ends(files: pa.Table, batch: Batch) -> Offsets:
    """The places behind which files, in path order, are cut.

    A batch is between half and all of what `batch` allows, except the last and one beside a large file. Between the two it ends behind the file whose path
    has the least hash. So the cuts depend on paths alone (with `bytes` on sizes too), and behind an inserted or deleted file they soon are what they were.

    Args:
        files: `path`; with `bytes` also `size`.
    """
    count = len(files)
    if batch.files == 1:
        return np.arange(1, count + 1, dtype=np.int64)
    marks = _marks(files.column("path"))
    sizes = np.cumsum(files.column("size").to_numpy()) if batch.bytes else None
    ends = []
    start = 0
    while start < count:
        least, most = _window(start, count, batch, sizes)
        start = count if most == count else least + int(np.argmin(marks[least - 1 : most]))
        ends.append(start)
    return np.array(ends, np.int64)


def _window(start: int, count: int, batch: Batch, sizes: Offsets | None) -> tuple[int, int]:
    """The first and the last place where a batch that begins at `start` may end."""
    least, most = count, count
    if batch.files:
        least, most = start + (batch.files + 1) // 2, min(count, start + batch.files)
    if sizes is not None:
        before = int(sizes[start - 1]) if start else 0
        least = min(least, 1 + int(np.searchsorted(sizes, before + batch.bytes / 2)))
        most = min(most, int(np.searchsorted(sizes, before + batch.bytes, side="right")))
    most = max(most, start + 1)
    return max(start + 1, min(least, most)), most


def _marks(paths: pa.ChunkedArray) -> Offsets:
    data = b"".join([blake3(path).digest(length=_MARK_BYTES) for path in paths.cast(pa.large_binary()).to_pylist()])
    return np.frombuffer(data, ">u8")
