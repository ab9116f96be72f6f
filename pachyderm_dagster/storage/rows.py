"""The kinds of rows that trees hold, as Arrow schemas, and contents as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import ContentColumns
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, Ref

KEY = "key"
HASH_TYPE = pa.binary(DIGEST_BYTES)
REF_TYPE = pa.struct([("object", pa.binary(OBJECT_ID_BYTES)), ("offset", pa.int64()), ("length", pa.int64())])
REFS_TYPE = pa.list_(REF_TYPE)
CONTENT_FIELDS = [("size", pa.int64()), ("hash", HASH_TYPE), ("refs", REFS_TYPE)]
CONTENT_TYPE = pa.struct(CONTENT_FIELDS)
# Below so many, column by column takes longer than row by row: ten times as long for the one content of most commits.
_FEW = 128
_LEAVES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class TreeKind:
    """What the rows of a tree look like.

    Args:
        name: enters every node's id, so that trees of different kinds never share one.
        schema: begins with `key`, a string; keys are unique and ordered by their UTF-8 bytes.
        logical: the columns that make two rows equal and decide a node's id. The others say where something lies and may differ between equal trees.
            Neither the logical columns nor what is in them may be null.
        bytes_column: the column whose sum is the tree's size in bytes.
        rows_per_node: how many rows (or children) a node has on average; a power of two. Other trees come of another number.
    """

    name: str
    schema: pa.Schema
    logical: tuple[str, ...]
    bytes_column: str | None
    rows_per_node: int = 1024


# A row a file. `datum` is the id of the datum that wrote it, empty if a user did.
FILE_ROWS = TreeKind(
    "file",
    pa.schema([(KEY, pa.string()), ("datum", pa.binary()), *CONTENT_FIELDS]),
    logical=(KEY, "datum", "size", "hash"),
    bytes_column="size",
)

# A row a datum; the key is its id in hex. `job` is the id of the job that made the result, `outputs` the keys of the files it wrote,
# `details` the content of a JSON document.
DATUM_ROWS = TreeKind(
    "datum",
    pa.schema(
        [
            (KEY, pa.string()),
            ("hash", HASH_TYPE),
            ("state", pa.uint8()),
            ("job", pa.string()),
            ("outputs", pa.list_(pa.string())),
            ("details", CONTENT_TYPE),
        ]
    ),
    logical=(KEY, "hash", "state", "job", "outputs"),
    bytes_column=None,
)


def content_array(contents: Sequence[Content]) -> pa.StructArray:
    """Contents as an array of `CONTENT_TYPE`; `.flatten()` gives the columns size, hash and refs of file rows."""
    if len(contents) < _FEW:
        return pa.array([(content.size, content.hash, [(ref.object, ref.offset, ref.length) for ref in content.refs]) for content in contents], CONTENT_TYPE)
    return columns_array(ContentColumns.of(contents))


def columns_array(columns: ContentColumns) -> pa.StructArray:
    """As `content_array`, without a copy of what it gets."""
    ends = np.cumsum(np.frombuffer(b"\0" * 8 + columns.counts, dtype="<i8"), dtype=np.int32)
    places = pa.StructArray.from_arrays(
        [
            fixed_array(columns.objects, REF_TYPE.field("object").type),
            pa.array(np.frombuffer(columns.offsets, dtype="<i8")),
            pa.array(np.frombuffer(columns.lengths, dtype="<i8")),
        ],
        fields=list(REF_TYPE),
    )
    return pa.StructArray.from_arrays(
        [
            pa.array(np.frombuffer(columns.sizes, dtype="<i8")),
            fixed_array(columns.hashes, HASH_TYPE),
            pa.ListArray.from_arrays(pa.array(ends), places, type=REFS_TYPE),
        ],
        fields=list(CONTENT_TYPE),
    )


def cut_columns(rows: pa.Table, bounds: Sequence[int]) -> list[ContentColumns]:
    """The contents in the columns size, hash and refs, from each of the ascending row numbers `bounds` to the next; without an object a content."""
    lists = one_array(rows.column("refs"))
    places, counts = lists.flatten(), pc.list_value_length(lists).to_numpy()
    sizes, offsets, lengths = (_bytes_of(array.to_numpy()) for array in (one_array(rows.column("size")), places.field("offset"), places.field("length")))
    hashes, objects = _fixed_bytes(one_array(rows.column("hash"))), _fixed_bytes(places.field("object"))
    encoded_counts = _bytes_of(counts)
    ref_bounds = np.concatenate([[0], np.cumsum(counts)])[np.array(bounds)].tolist()
    return [
        ContentColumns(
            sizes[8 * start : 8 * end],
            hashes[DIGEST_BYTES * start : DIGEST_BYTES * end],
            encoded_counts[8 * start : 8 * end],
            objects[OBJECT_ID_BYTES * first : OBJECT_ID_BYTES * last],
            offsets[8 * first : 8 * last],
            lengths[8 * first : 8 * last],
        )
        for (start, end), (first, last) in zip(pairwise(bounds), pairwise(ref_bounds), strict=True)
    ]


def _bytes_of(numbers: np.ndarray) -> bytes:
    return numbers.astype("<i8").tobytes()


def _fixed_bytes(array: pa.FixedSizeBinaryArray) -> bytes:
    """Values of one length one behind another, as `fixed_array` takes them."""
    width, data = array.type.byte_width, array.buffers()[1]
    found: bytes = data[array.offset * width : (array.offset + len(array)) * width].to_pybytes() if data else b""
    return found


def fixed_array(data: bytes, type: pa.FixedSizeBinaryType) -> pa.FixedSizeBinaryArray:
    """Values of one length, which lie one behind another."""
    return pa.Array.from_buffers(type, len(data) // type.byte_width, [None, pa.py_buffer(data)])


def contents_of(rows: pa.Table | pa.RecordBatch | pa.StructArray) -> list[Content]:
    """The contents in the columns (or fields) size, hash and refs."""
    if isinstance(rows, pa.StructArray):
        rows = pa.RecordBatch.from_struct_array(rows)
    lists = one_array(rows.column("refs"))
    # Of the list of a slice `values` and `offsets` are those of the whole.
    ends = accumulate(pc.list_value_length(lists).to_pylist(), initial=0)
    places = lists.flatten()
    objects, offsets, lengths = (places.field(name).to_pylist() for name in ("object", "offset", "length"))
    refs = list(map(Ref, objects, offsets, lengths))
    sizes, hashes = rows.column("size").to_pylist(), rows.column("hash").to_pylist()
    return [Content(hash_, size, tuple(refs[start:end])) for hash_, size, (start, end) in zip(hashes, sizes, pairwise(ends), strict=True)]


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    # Where it is in one piece already, `combine_chunks` copies it.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def copied(leaves: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of leaves, or parts of them, some leaves at a time, apart from what else is in these: a column of a leaf keeps all of it in memory."""
    while some := list(islice(leaves, _LEAVES_AT_ONCE)):
        yield pa.concat_tables(some).combine_chunks()
