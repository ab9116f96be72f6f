"""What programs get of files, and how lists of them look."""

from collections.abc import Iterable

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.printing import Column, Document, Form, Printer, Times, show_size
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo, file_infos

ROWS_AT_ONCE = 10_000
# The two digits of each byte, as one number that lies in memory as they are written.
_DIGITS = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)


def file_document(file: FileInfo) -> Fields:
    """A file or directory."""
    return {"path": file.path, "type": file.type, "size_bytes": file.size_bytes, "hash": file.hash}


def print_files(printer: Printer, entries: Iterable[pa.Table]) -> None:
    """Files and directories (tables of `pfs.entries.ENTRIES`) as a list; some thousands at a time, as they may be millions."""
    pieces = (table.slice(at, ROWS_AT_ONCE) for table in entries for at in range(0, len(table), ROWS_AT_ONCE))
    if printer.form is Form.JSON:
        for piece in pieces:
            click.echo(_json_lines(piece), nl=False)
    else:
        printer.many((file_document(file) for piece in pieces for file in file_infos(piece)), FILE_COLUMNS)


def _json_lines(entries: pa.Table) -> bytes:
    """What `to_json` makes of the documents of these, which are some, one a line; by the column, because that takes a tenth of the time."""
    (rows,) = entries.combine_chunks().to_batches()
    # No path holds a control character, so nothing else in it has to be escaped.
    paths = pc.replace_substring(pc.replace_substring(rows["path"], "\\", "\\\\"), '"', '\\"')
    sizes = rows["size"].cast(pa.string())
    lines = pc.binary_join_element_wise(
        '{"path": "', paths, '", "type": "', rows["type"], '", "size_bytes": ', sizes, ', "hash": "', _hex(rows["hash"]), '"}\n', ""
    )
    return bytes(memoryview(lines.buffers()[2])[: pc.sum(pc.binary_length(lines)).as_py()])


def _hex(hashes: pa.FixedSizeBinaryArray) -> pa.StringArray:
    width, count = hashes.type.byte_width, len(hashes)
    data = np.frombuffer(hashes.buffers()[1], np.uint8)[hashes.offset * width :][: count * width]
    ends = np.arange(count + 1, dtype=np.int32) * 2 * width
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(_DIGITS[data]))


def show_name(document: Document, _: Times) -> str:
    """A path for people: a directory ends in `/`."""
    path = str(document["path"])
    return f"{path.rstrip('/')}/" if document["type"] == DIRECTORY else path


FILE_COLUMNS = (Column("SIZE", lambda document, _: show_size(document["size_bytes"])), Column("NAME", show_name))
