"""Cuts a stream into parts of whole records, as Pachyderm 1.x's `put file --split` did, each a file of its own.

Works on blocks, with numpy where records end; of a part that is larger than a block only pieces are in memory.
"""

import enum
import itertools
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.records import CsvRecords, JsonRecords, Lines, Records
from pachyderm_dagster.pfs.streams import Pieces, WholeReads
from pachyderm_dagster.storage.chunks import Readable

_BLOCK_BYTES = 4 * 1024 * 1024
# What a dump says before and behind its rows is held in memory.
_MAX_FRAME_BYTES = 64 * 1024 * 1024
_COPY = re.compile(rb"^COPY [^\n]*FROM stdin;\r?\n", re.MULTILINE)
_END_OF_ROWS = re.compile(rb"\n\\\.\r?(?=\n|\Z)")

_Positions = npt.NDArray[np.int64]


class SplitKind(enum.Enum):
    """What a record is."""

    LINE = "line"
    JSON = "json"  # values, with or without white space between them
    CSV = "csv"  # lines, but for line ends in quotes
    SQL = "sql"  # the rows of a table that pg_dump wrote


@dataclass(frozen=True, slots=True)
class Split:
    """How a stream is cut.

    Attributes:
        records: how many records a part has; 0 for as many as `size` lets in.
        size: a part ends with the record that brings it to so many bytes; 0 for no such bound. Without both, a part is one record.
        header_records: so many records from the first on are no part; they stand at the beginning of every part.
    """

    kind: SplitKind
    records: int = 0
    size: int = 0
    header_records: int = 0


def put_split(files: FileSet, directory: str, stream: Readable, split: Split, name: str) -> int:
    """Writes the parts of a stream into a directory, under numbers; returns how many. `name` is the stream's, for messages.

    Raises:
        InvalidError: `split-invalid`, when the stream is not what `split` says.
    """
    if split.kind is SplitKind.SQL:
        with tempfile.TemporaryFile() as rows:
            header, footer = _take_rows(stream, rows, name)
            rows.seek(0)
            return _put_parts(files, directory, rows, split, name, header, footer)
    return _put_parts(files, directory, stream, split, name, b"", b"")


def _put_parts(files: FileSet, directory: str, stream: Readable, split: Split, name: str, header: bytes, footer: bytes) -> int:
    blocks = _blocks(stream, _records(split.kind, name))
    header += _take_header(blocks, split.header_records, name) if split.header_records else b""
    count = 0
    pieces = _pieces(blocks, split)
    for piece, ends in pieces:
        if split.kind is SplitKind.JSON:
            piece = piece.lstrip()
            if not piece:
                continue
        count += 1
        if ends:
            files.put_next(directory, header + piece + footer if header or footer else piece)
        else:
            files.put_next(directory, Pieces(itertools.chain((header, piece), _rest(pieces), (footer,))))
    return count


def _records(kind: SplitKind, name: str) -> Records:
    match kind:
        case SplitKind.LINE | SplitKind.SQL:
            return Lines()
        case SplitKind.CSV:
            return CsvRecords(name)
        case SplitKind.JSON:
            return JsonRecords(name)


class _blocks:
    """A stream as blocks, each with the positions behind the records that end in it; something taken may be put back."""

    def __init__(self, stream: Readable, records: Records) -> None:
        self._stream = WholeReads(stream)
        self._records = records
        self._returned: tuple[bytes, _Positions] | None = None

    def __iter__(self) -> "_blocks":
        return self

    def __next__(self) -> tuple[bytes, _Positions]:
        if self._returned is not None:
            block, self._returned = self._returned, None
            return block
        data = self._stream.read(_BLOCK_BYTES)
        if not data:
            self._records.finish()
            raise StopIteration
        return data, self._records.ends(data)

    def put_back(self, data: bytes, ends: _Positions) -> None:
        """Gives this next."""
        self._returned = data, ends


def _take_header(blocks: _blocks, wanted: int, name: str) -> bytes:
    header = []
    records, begun = wanted, 0
    for data, ends in blocks:
        if len(ends) >= records:
            end = int(ends[records - 1])
            header.append(data[:end])
            blocks.put_back(data[end:], ends[records:] - end)
            return b"".join(header)
        header.append(data)
        records -= len(ends)
        begun = int(not len(ends) or ends[-1] < len(data))
    if records <= begun or not header:
        return b"".join(header)
    raise InvalidError(
        "split-invalid", f"{name} has {wanted - records + begun:,} records, of which the first {wanted:,} are to be a header; ask for a shorter one"
    )


def _pieces(blocks: _blocks, split: Split) -> Iterator[tuple[bytes, bool]]:
    """The stream in pieces, each with whether a part ends with it."""
    records = split.records or (0 if split.size else 1)
    # Of the part that is being made: records and bytes so far.
    have, length = 0, 0
    for data, ends in blocks:
        start = 0
        cuts, have = _cuts(ends, records, split.size, have, length)
        for cut in cuts:
            yield data[start:cut], True
            start = cut
        length = len(data) - start + (0 if cuts else length)
        if start < len(data):
            yield data[start:], False


def _cuts(ends: _Positions, records: int, size: int, have: int, length: int) -> tuple[list[int], int]:
    """Where parts end in a block, and how many records the last one, which does not, has then. `have` and `length` are those of the first one so far."""
    if not size:
        cuts = ends[records - have - 1 :: records].tolist()
        return cuts, (have + len(ends)) % records
    found: list[int] = []
    begin, first = -length, 0
    while True:
        last = int(np.searchsorted(ends, begin + size))
        if records:
            last = min(last, first + records - have - 1)
        if last >= len(ends):
            return found, have + len(ends) - first
        begin = int(ends[last])
        found.append(begin)
        first, have = last + 1, 0


def _rest(pieces: Iterator[tuple[bytes, bool]]) -> Iterator[bytes]:
    """What is left of a part."""
    for piece, ends in pieces:
        yield piece
        if ends:
            return


def _take_rows(stream: Readable, rows: BinaryIO, name: str) -> tuple[bytes, bytes]:
    """Copies the rows of a dump of one table, since what stands behind them belongs to every part; returns what stands before and behind them."""
    source = WholeReads(stream)
    header = b""
    while (found := _COPY.search(header)) is None:
        data = source.read(_BLOCK_BYTES)
        if not data or len(header) > _MAX_FRAME_BYTES:
            raise InvalidError("split-invalid", f"{name} has no `COPY ... FROM stdin;`; write the dump with pg_dump, without --inserts and --format")
        header += data
    # A line break before the first row, as before every other one, shows an end without any rows too.
    window = b"\n" + header[found.end() :]
    skip = 1
    while (end := _END_OF_ROWS.search(window)) is None:
        keep = window[-4:]
        rows.write(window[skip : len(window) - len(keep)])
        skip = max(skip - (len(window) - len(keep)), 0)
        data = source.read(_BLOCK_BYTES)
        if not data:
            raise InvalidError("split-invalid", f"{name} ends within its rows, before the line `\\.`; write the dump again")
        window = keep + data
    rows.write(window[skip : end.start() + 1])
    footer = window[end.start() + 1 :] + source.read(_MAX_FRAME_BYTES)
    if _COPY.search(footer) or source.read(1):
        raise InvalidError("split-invalid", f"{name} holds more than one table; dump one at a time with pg_dump -t")
    return header[: found.end()], footer
