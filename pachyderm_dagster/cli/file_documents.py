"""What programs get of files, and how lists of them look."""

from collections.abc import Iterator

import pyarrow as pa

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.printing import Column, Document, Times, show_size
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo, file_infos

ROWS_AT_ONCE = 10_000


def file_document(file: FileInfo) -> Fields:
    """A file or directory."""
    return {"path": file.path, "type": file.type, "size_bytes": file.size_bytes, "hash": file.hash}


def file_documents(entries: pa.Table) -> Iterator[Fields]:
    """Files and directories of a table, some thousands at a time."""
    for at in range(0, len(entries), ROWS_AT_ONCE):
        yield from map(file_document, file_infos(entries.slice(at, ROWS_AT_ONCE)))


def show_name(document: Document, _: Times) -> str:
    """A path for people: a directory ends in `/`."""
    path = str(document["path"])
    return f"{path.rstrip('/')}/" if document["type"] == DIRECTORY else path


FILE_COLUMNS = (Column("SIZE", lambda document, _: show_size(document["size_bytes"])), Column("NAME", show_name))
