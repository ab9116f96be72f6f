"""The datums of an input: which files belong together, each datum's id (where) and hash (what). Design: docs/design/0003.

Columns all the way: a cross of 1,000 × 1,000 files is two columns of row numbers beside ids and hashes.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.inputs import CronInput, CrossInput, Input, Leaf, PfsInput, UnionInput, leaf_key, leaves, sorted_input

ID_TAG = "datum"
HASH_TAG = "datum-hash"
# What one Arrow array of ids holds: 2 GiB of text.
MAX_DATUMS = (2**31 - 1) // (2 * DIGEST_BYTES)
_BLOCK = 1 << 16

Rows = npt.NDArray[np.int32]


class DatumState(enum.IntEnum):
    """How a datum ended, as stored in the meta tree."""

    PROCESSED = 1  # its output is in the output tree of a job that succeeded
    FAILED = 2  # every try failed
    RECOVERED = 3  # the error command succeeded: no output, and it runs again next time


@dataclass(frozen=True, slots=True)
class DatumFile:
    """One file or directory of a datum, for one input."""

    input: str
    project: str | None
    repo: str
    branch: str
    path: str
    type: str
    """`file` or `dir`."""
    hash: bytes
    empty_files: bool


@dataclass(frozen=True, slots=True)
class Datums:
    """The datums of one input at one moment.

    Attributes:
        table: `id` (string, 64 hex digits), `hash` (32 bytes), and for each leaf in `leaves` a column of its number (`"0"`, `"1"`, …, int32): the row of that
            leaf's files that belongs to the datum, -1 for none.
        leaves: the inputs, by name.
        leaf_files: for each leaf its files: path, hash, type.
    """

    table: pa.Table
    leaves: tuple[Leaf, ...]
    leaf_files: tuple[pa.Table, ...]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def files(self, index: int) -> tuple[DatumFile, ...]:
        """The files of one datum, by input name."""
        return next(self.files_of([index]))

    def files_of(self, indices: "pa.Array | Sequence[int]") -> Iterator[tuple[DatumFile, ...]]:
        """The files of many datums, in the order of `indices`; in memory for one block of datums at a time."""
        chosen = indices if isinstance(indices, pa.Array) else pa.array(indices, pa.int64())
        for start in range(0, len(chosen), _BLOCK):
            rows = self.table.take(chosen.slice(start, _BLOCK))
            columns = [
                _leaf_block(leaf, files, rows.column(str(number))) for number, (leaf, files) in enumerate(zip(self.leaves, self.leaf_files, strict=True))
            ]
            for found in zip(*columns, strict=True):
                yield tuple(file for file in found if file is not None)


def datum_table(input: Input, files: Mapping[str, pa.Table], salt: str) -> Datums:
    """The datums of an input, in order: a leaf's in the order of its files, a cross with its last member fastest, a union one member after the other.

    Args:
        input: what the pipeline reads.
        files: for the `leaf_key` of each leaf the matches of its glob, in path order: `path` (string), `hash` (32 bytes; of a directory its range hash) and
            `type` (`file` or `dir`); other columns are ignored.
        salt: the pipeline version's.

    Raises:
        InvalidError: `datums-too-many`.
    """
    by_key = {leaf_key(leaf): leaf for leaf in sorted(leaves(input), key=lambda leaf: (leaf.name, leaf_key(leaf)))}
    keys = {key: number for number, key in enumerate(by_key)}
    leaf_files = tuple(files[key].select(["path", "hash", "type"]) for key in by_key)
    chosen = sorted_input(input)
    count = _count(chosen, keys, leaf_files)
    if count > MAX_DATUMS:
        raise InvalidError("datums-too-many", f"the input makes {count:,} datums; at most {MAX_DATUMS:,} are possible: let its globs match fewer, larger units")
    columns = _columns(chosen, keys, leaf_files)
    all_rows = [columns.get(number, np.full(count, -1, np.int32)) for number in range(len(by_key))]
    ids, hashes = _identify(tuple(by_key.values()), leaf_files, all_rows, salt)
    names = ["id", "hash", *map(str, range(len(by_key)))]
    table = pa.table([ids, hashes, *map(pa.array, all_rows)], names)
    if _has_union(chosen):
        table = _first_of_each(table)
    return Datums(table, tuple(by_key.values()), leaf_files)


def hex_strings(digests: pa.Array) -> pa.StringArray:
    """32-byte digests as strings of 64 hex digits."""
    data = np.frombuffer(digests.buffers()[1], np.uint8)[digests.offset * DIGEST_BYTES :][: len(digests) * DIGEST_BYTES]
    return _hex_strings(data.tobytes())


def _count(input: Input, keys: Mapping[str, int], leaf_files: Sequence[pa.Table]) -> int:
    match input:
        case PfsInput() | CronInput():
            return int(leaf_files[keys[leaf_key(input)]].num_rows)
        case CrossInput():
            product = 1
            for member in input.members:
                product *= _count(member, keys, leaf_files)
            return product
        case UnionInput():
            return sum(_count(member, keys, leaf_files) for member in input.members)


def _columns(input: Input, keys: Mapping[str, int], leaf_files: Sequence[pa.Table]) -> dict[int, Rows]:
    """For each leaf below `input` the row of its files for every datum, -1 where the datum has none."""
    match input:
        case PfsInput() | CronInput():
            number = keys[leaf_key(input)]
            return {number: np.arange(leaf_files[number].num_rows, dtype=np.int32)}
        case CrossInput():
            counts = [_count(member, keys, leaf_files) for member in input.members]
            crossed: dict[int, Rows] = {}
            for place, member in enumerate(input.members):
                before, after = int(np.prod(counts[:place], dtype=np.int64)), int(np.prod(counts[place + 1 :], dtype=np.int64))
                crossed |= {number: np.tile(np.repeat(rows, after), before) for number, rows in _columns(member, keys, leaf_files).items()}
            return crossed
        case UnionInput():
            members = [(_columns(member, keys, leaf_files), _count(member, keys, leaf_files)) for member in input.members]
            numbers = dict.fromkeys(number for columns, _ in members for number in columns)
            return {number: np.concatenate([columns.get(number, np.full(count, -1, np.int32)) for columns, count in members]) for number in numbers}


def _identify(leaves: Sequence[Leaf], leaf_files: Sequence[pa.Table], rows: Sequence[Rows], salt: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    # The bytes that `codec.digest` would hash, joined from pieces that are made once for each file, not once for each datum.
    id_pieces, hash_pieces = [], []
    for leaf, files in zip(leaves, leaf_files, strict=True):
        id_pieces.append(_pieces(_prefixed(leaf.name, leaf.repo, leaf.branch), files.column("path")))
        hash_pieces.append(_pieces(b"", files.column("hash")))
    id_start, hash_start, hash_end = _prefixed(ID_TAG), _prefixed(HASH_TAG) + _length(DIGEST_BYTES), _prefixed(salt)
    ids, hashes = [], []
    for start in range(0, len(rows[0]), _BLOCK):
        block = [column[start : start + _BLOCK].tolist() for column in rows]
        id_digests = [blake3(id_start + piece).digest() for piece in _joined(id_pieces, block)]
        contents = _joined(hash_pieces, block)
        hash_digests = [blake3(hash_start + id + piece + hash_end).digest() for id, piece in zip(id_digests, contents, strict=True)]
        ids.append(_hex_strings(b"".join(id_digests)))
        hashes.append(pa.array(hash_digests, pa.binary(DIGEST_BYTES)))
    return pa.chunked_array(ids, pa.string()), pa.chunked_array(hashes, pa.binary(DIGEST_BYTES))


def _pieces(head: bytes, column: pa.ChunkedArray) -> list[bytes]:
    """`head`, then the value with its length, for each value; and a last piece without content, so that row -1 adds nothing."""
    values = column.combine_chunks().cast(pa.large_binary())
    lengths = pc.binary_length(values).to_numpy().astype("<u8")
    prefixes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(values), [None, pa.py_buffer(lengths)]).cast(pa.large_binary())
    joined = pc.binary_join_element_wise(pa.scalar(head, pa.large_binary()), prefixes, values, pa.scalar(b"", pa.large_binary()))
    return [*joined.to_pylist(), b""]


def _joined(pieces: Sequence[list[bytes]], block: Sequence[list[int]]) -> Iterator[bytes]:
    columns = [map(found.__getitem__, rows) for found, rows in zip(pieces, block, strict=True)]
    return columns[0] if len(columns) == 1 else map(b"".join, zip(*columns, strict=True))


def _prefixed(*texts: str) -> bytes:
    parts = [text.encode() for text in texts]
    return b"".join(_length(len(part)) + part for part in parts)


def _length(count: int) -> bytes:
    return count.to_bytes(8, "little")


def _hex_strings(data: bytes) -> pa.StringArray:
    count = len(data) // DIGEST_BYTES
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * DIGEST_BYTES)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data.hex().encode()))


def _has_union(input: Input) -> bool:
    match input:
        case PfsInput() | CronInput():
            return False
        case CrossInput():
            return any(_has_union(member) for member in input.members)
        case UnionInput():
            return True


def _first_of_each(table: pa.Table) -> pa.Table:
    codes = table.column("id").combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return table if len(first) == len(table) else table.take(pa.array(np.sort(first)))


def _leaf_block(leaf: Leaf, files: pa.Table, rows: pa.ChunkedArray) -> list[DatumFile | None]:
    present = pa.array(rows.to_numpy(), mask=rows.to_numpy() < 0)
    found = files.take(present)
    columns = (found.column(name).to_pylist() for name in ("path", "type", "hash"))
    return [
        None if path is None else DatumFile(leaf.name, leaf.project, leaf.repo, leaf.branch, path, type, hash, leaf.empty_files)
        for path, type, hash in zip(*columns, strict=True)
    ]
