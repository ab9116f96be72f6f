"""The datums of an input: which files belong together, each datum's id (where) and hash (what). Design: docs/design/0003 and 0009.

Columns all the way: a cross of 1,000 × 1,000 files is a column of file numbers beside ids and hashes.
"""

import enum
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.pps.bundles import Bundles, Files, blocks
from pachyderm_dagster.pps.combining import bundles_of
from pachyderm_dagster.pps.input_files import InputFiles
from pachyderm_dagster.pps.inputs import CronInput, Input, Leaf, PfsInput, UnionInput, sorted_input
from pachyderm_dagster.storage.rows import HASH_TYPE, fixed_array, one_array
from pachyderm_dagster.storage.scratch import Scratch

ID_TAG = "datum"
HASH_TAG = "datum-hash"
_BLOCK = 1 << 14
_IDENTITY = pa.schema([("id", pa.string()), ("hash", HASH_TYPE)])


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
    lazy: bool = False
    join_on: str | None = None
    """Its key within a join; None when the input says none."""
    group_by: str | None = None
    """Its key within a group, likewise."""


@dataclass(frozen=True, slots=True)
class Datums:
    """The datums of one input at one moment.

    Attributes:
        table: `id` (string, 64 hex digits), `hash` (32 bytes), `files` (large_list of int32): the numbers of the datum's files, ascending.
        input_files: what the numbers mean.
        scratch: where `table` and `input_files` are, when they are large.
    """

    table: pa.Table
    input_files: InputFiles
    scratch: Scratch = field(default_factory=lambda: Scratch(None))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def files(self, index: int) -> tuple[DatumFile, ...]:
        """The files of one datum, by input name and path."""
        return next(self.files_of([index]))

    def lengths(self, indices: "pa.Array | Sequence[int]") -> npt.NDArray[np.int64]:
        """How many files each of these datums has."""
        chosen, offsets = _indices(indices).to_numpy(), one_array(self.table.column("files")).offsets.to_numpy()
        lengths: npt.NDArray[np.int64] = offsets[chosen + 1] - offsets[chosen]
        return lengths

    def files_of(self, indices: "pa.Array | Sequence[int]") -> Iterator[tuple[DatumFile, ...]]:
        """The files of many datums, in the order of `indices`; in memory for one block of files at a time."""
        chosen = _indices(indices)
        for start, end in blocks(self.lengths(chosen), files=_BLOCK, bundles=_BLOCK):
            rows = self.table.column("files").take(chosen.slice(start, end - start)).combine_chunks()
            found = _datum_files(self.input_files, rows.flatten().to_numpy())
            offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(rows).to_numpy())]).tolist()
            self.scratch.let_go()
            yield from (tuple(found[first:last]) for first, last in itertools.pairwise(offsets))


def datum_table(input: Input, files: Mapping[str, pa.Table], salt: str, scratch: Scratch | None = None) -> Datums:
    """The datums of an input, in order: a leaf's in the order of its files, a cross with its last member fastest, a union one member after the other, a join
    and a group by key.

    Args:
        input: what the pipeline reads.
        files: for the `leaf_key` of each leaf the matches of its glob, in path order: `path` (string), `hash` (32 bytes; of a directory its range hash), `type`
            (`file` or `dir`) and, for batches by bytes, `size`; other columns are ignored.
        salt: the pipeline version's.
        scratch: where ids and hashes go when they are many, and where `files` may be; None: they are in memory.

    Raises:
        InvalidError: `datums-too-many`.
        StorageError: `storage-full`, when the disk of `scratch` is.
    """
    scratch = scratch or Scratch(None)
    found = InputFiles.of(input, files)
    bundles = bundles_of(sorted_input(input), found)
    table = scratch.keep(_IDENTITY, _identify(found, bundles, salt, scratch))
    members = pa.LargeListArray.from_arrays(pa.array(bundles.offsets), pa.array(bundles.files))
    table = table.append_column("files", members)
    return Datums(_first_of_each(table) if _has_union(input) else table, found, scratch)


def hex_strings(digests: pa.Array) -> pa.StringArray:
    """32-byte digests as strings of 64 hex digits."""
    data = np.frombuffer(digests.buffers()[1], np.uint8)[digests.offset * DIGEST_BYTES :][: len(digests) * DIGEST_BYTES]
    return _texts(_hex_digits(data.tobytes()))


def _identify(found: InputFiles, bundles: Bundles, salt: str, scratch: Scratch) -> Iterator[pa.Table]:
    """The id and the hash of each bundle, some thousand at a time."""
    # The bytes that `codec.digest` would hash, joined from pieces that are made once for each file of a block, not once for each datum.
    id_start, hash_start, hash_end = _prefixed(ID_TAG), _prefixed(HASH_TAG) + _length(DIGEST_BYTES), _prefixed(salt)
    for start, end in blocks(bundles.lengths, files=_BLOCK, bundles=_BLOCK):
        files = bundles.files[bundles.offsets[start] : bundles.offsets[end]]
        bounds = bundles.offsets[start : end + 1] - bundles.offsets[start]
        numbers, places = _unique(files)
        id_digests = [blake3(id_start + piece).digest() for piece in _joined(_id_pieces(found, numbers), places, bounds)]
        contents = _joined(_hash_pieces(found, numbers), places, bounds)
        hash_digests = [blake3(hash_start + id + piece + hash_end).digest() for id, piece in zip(id_digests, contents, strict=True)]
        scratch.let_go()
        yield pa.table([_texts(_hex_digits(b"".join(id_digests))), fixed_array(b"".join(hash_digests), HASH_TYPE)], schema=_IDENTITY)


def _id_pieces(found: InputFiles, numbers: Files) -> list[bytes]:
    """Where each of these files is, as the id has it."""
    parts = [_pieces(_prefixed(leaf.name, leaf.repo, leaf.branch), rows.column("path")) for leaf, rows in found.of_leaves(numbers)]
    return [piece for part in parts for piece in part]


def _hash_pieces(found: InputFiles, numbers: Files) -> list[bytes]:
    """What each of these files holds, as the hash has it: nothing of a reference."""
    parts = [[b""] * len(rows) if leaf.reference else _pieces(b"", rows.column("hash")) for leaf, rows in found.of_leaves(numbers)]
    return [piece for part in parts for piece in part]


def _pieces(head: bytes, column: pa.ChunkedArray) -> list[bytes]:
    """`head`, then the value with its length, for each value."""
    values = column.combine_chunks().cast(pa.large_binary())
    lengths = pc.binary_length(values).to_numpy().astype("<u8")
    prefixes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(values), [None, pa.py_buffer(lengths)]).cast(pa.large_binary())
    joined = pc.binary_join_element_wise(pa.scalar(head, pa.large_binary()), prefixes, values, pa.scalar(b"", pa.large_binary()))
    pieces: list[bytes] = joined.to_pylist()
    return pieces


def _unique(files: Files) -> tuple[Files, Files | None]:
    """The files once each, ascending, and for every one its place among them; None when they ascend already."""
    if bool(np.all(np.diff(files) > 0)):
        return files, None
    numbers, places = np.unique(files, return_inverse=True)
    return numbers, places.astype(np.int32)


def _joined(pieces: list[bytes], places: Files | None, bounds: npt.NDArray[np.int64]) -> Iterator[bytes]:
    """For each datum of a block the pieces of its files, which are at `places`, one after the other."""
    ordered = pieces if places is None else [pieces[place] for place in places.tolist()]
    if len(ordered) == len(bounds) - 1 and bool(np.all(np.diff(bounds) == 1)):
        return iter(ordered)
    offsets = bounds.tolist()
    return (b"".join(ordered[first:last]) for first, last in itertools.pairwise(offsets))


def _prefixed(*texts: str) -> bytes:
    parts = [text.encode() for text in texts]
    return b"".join(_length(len(part)) + part for part in parts)


def _length(count: int) -> bytes:
    return count.to_bytes(8, "little")


def _hex_digits(digests: bytes) -> npt.NDArray[np.uint8]:
    """A row of hex digits, as ASCII characters, for each of some digests, which lie one behind another."""
    return np.frombuffer(digests.hex().encode(), np.uint8).reshape(-1, 2 * DIGEST_BYTES)


def _texts(digits: npt.NDArray[np.uint8]) -> pa.StringArray:
    """Rows of the same number of ASCII characters as strings."""
    count, width = digits.shape
    return pa.StringArray.from_buffers(count, pa.py_buffer(np.arange(count + 1, dtype=np.int32) * width), pa.py_buffer(digits))


def _has_union(input: Input) -> bool:
    match input:
        case PfsInput() | CronInput():
            return False
        case UnionInput():
            return True
        case _:
            return any(_has_union(member) for member in input.members)


def _first_of_each(table: pa.Table) -> pa.Table:
    codes = table.column("id").combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return table if len(first) == len(table) else table.take(pa.array(np.sort(first)))


def _indices(rows: "pa.Array | Sequence[int]") -> pa.Array:
    return rows if isinstance(rows, pa.Array) else pa.array(rows, pa.int64())


def _datum_files(found: InputFiles, numbers: Files) -> list[DatumFile]:
    unique, places = _unique(numbers)
    files = [file for leaf, rows in found.of_leaves(unique) for file in _leaf_files(leaf, rows)]
    return files if places is None else [files[place] for place in places.tolist()]


def _leaf_files(leaf: Leaf, rows: pa.Table) -> list[DatumFile]:
    columns = (rows.column(name).to_pylist() for name in ("path", "type", "hash"))
    keys = (rows.column(name).to_pylist() if name in rows.column_names else itertools.repeat(None, len(rows)) for name in ("join_on", "group_by"))
    return [
        DatumFile(leaf.name, leaf.project, leaf.repo, leaf.branch, path, type, hash, leaf.empty_files, leaf.lazy, join_on, group_by)
        for path, type, hash, join_on, group_by in zip(*columns, *keys, strict=True)
    ]
