"""What programs get of files, and how lists of them look."""

import itertools
from collections.abc import Iterable, Iterator

import click
import msgspec
import pyarrow as pa

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.printing import Column, Document, Form, Printer, Times, show_size
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo, file_infos

ROWS_AT_ONCE = 10_000


def file_document(file: FileInfo) -> Fields:
    """A file or directory."""
    return {"path": file.path, "type": file.type, "size_bytes": file.size_bytes, "hash": file.hash}


def print_files(printer: Printer, files: Iterable[FileInfo]) -> None:
    """Files and directories as a list. As JSON some thousands at a time and by a faster encoder, which says the same: they may be millions."""
    if printer.form is not Form.JSON:
        printer.many(map(file_document, files), FILE_COLUMNS)
        return
    encode, layout, rest = msgspec.json.Encoder().encode, msgspec.json.format, iter(files)
    while some := list(itertools.islice(rest, ROWS_AT_ONCE)):
        click.echo(b"\n".join([layout(encode(file), indent=0) for file in some]))


def table_files(entries: pa.Table) -> Iterator[FileInfo]:
    """Files and directories of a table, some thousands at a time."""
    for at in range(0, len(entries), ROWS_AT_ONCE):
        yield from file_infos(entries.slice(at, ROWS_AT_ONCE))


def show_name(document: Document, _: Times) -> str:
    """A path for people: a directory ends in `/`."""
    path = str(document["path"])
    return f"{path.rstrip('/')}/" if document["type"] == DIRECTORY else path


FILE_COLUMNS = (Column("SIZE", lambda document, _: show_size(document["size_bytes"])), Column("NAME", show_name))
