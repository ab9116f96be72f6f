"""Files of a tree as a tar archive, streamed."""

import datetime as dt
import io
import tarfile
from collections.abc import Callable
from typing import BinaryIO

import pyarrow as pa

from pachyderm_dagster.pfs.path_columns import paths_of
from pachyderm_dagster.pfs.streams import Pieces, as_file
from pachyderm_dagster.storage.content import ContentReader
from pachyderm_dagster.storage.rows import contents_of

FILES_AT_ONCE = 2000
LARGE_BYTES = 4 * 1024 * 1024
MODE = 0o644


def write_archive(reader: ContentReader, rows: pa.Table, out: BinaryIO, *, time: dt.datetime, done: Callable[[int], None]) -> None:
    """Writes the files of `rows` (file rows of a tree) in their order, under their paths without the leading `/`, all dated `time`.

    `done` is told how many bytes more are written.
    """
    seconds = int(time.timestamp())
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for at in range(0, len(rows), FILES_AT_ONCE):
            some = rows.slice(at, FILES_AT_ONCE)
            contents = contents_of(some)
            small = reader.read_many([content for content in contents if content.size <= LARGE_BYTES])
            for path, content in zip(paths_of(some.column("key").combine_chunks()).to_pylist(), contents, strict=True):
                entry = tarfile.TarInfo(path.removeprefix("/"))
                entry.size, entry.mtime, entry.mode = content.size, seconds, MODE
                if content.size <= LARGE_BYTES:
                    archive.addfile(entry, io.BytesIO(next(small)))
                else:
                    archive.addfile(entry, as_file(Pieces(reader.stream(content))))
                done(content.size)
