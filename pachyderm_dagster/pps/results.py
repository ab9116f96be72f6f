"""What datums left behind: rows of a pipeline's results tree, and from them rows of a job's output and meta tree (docs/design/0003)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.pps.datums import DatumState, hex_strings
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns, join_files
from pachyderm_dagster.storage.rows import CONTENT_FIELDS, DATUM_ROWS, FILE_ROWS, KEY, TreeKind, columns_array, content_array, contents_of, cut_columns
from pachyderm_dagster.storage.trees import TreeRoot, Trees

# Under a datum's hash one row that says that it was processed, and one row for each file that it wrote.
RESULT_ROWS = TreeKind(
    "result",
    pa.schema([(KEY, pa.string()), ("datum", pa.binary()), *CONTENT_FIELDS, ("job", pa.string())]),
    logical=(KEY, "datum", "size", "hash", "job"),
    bytes_column="size",
)
_SEPARATOR = "\x00"
_AFTER_SEPARATOR = "\x01"
_HASHES_AT_ONCE = 5_000


class DatumRead(msgspec.Struct, frozen=True):
    """What a datum read, beside its place: the input's name, the branch, whether it was a `file` or a `dir`, and its hash in hex."""

    name: str
    branch: str
    type: str
    hash: str


class DatumDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job remembers of one datum beside its output; kept as JSON. What has a default is missing in those of older releases."""

    inputs: tuple[str, ...]
    """`repo@id:/path` of each file or directory that it read."""
    reads: tuple[DatumRead, ...] = ()
    """More about each of `inputs`, in that order."""
    job: str = ""
    """`pipeline@id`, the job that ran it."""
    state: str = ""
    """PROCESSED, FAILED or RECOVERED."""
    hash: str = ""
    """The datum's hash, in hex."""
    index: int | None = None
    """The datum's number in that job."""
    started: float | None = None
    """When user code was started first, in seconds since 1970."""
    reason: str = ""
    exit_code: int | None = None
    tries: int = 0
    download_seconds: float = 0.0
    process_seconds: float = 0.0
    upload_seconds: float = 0.0
    download_bytes: int = 0
    upload_bytes: int = 0
    log: Content | None = None
    """What the user code printed."""
    log_times: tuple[tuple[int, int], ...] = ()
    """Places in the log, and how many milliseconds after `started` what is there came."""

    def has_read(self, wanted: str) -> bool:
        """Whether the datum read the file `wanted` (with or without its first `/`), what lies in it, or the content of this hash."""
        path = f"/{wanted.strip('/')}"
        read = [file.partition(":")[2] for file in self.inputs]
        return any(_lies_in(name, path) or _lies_in(path, name) for name in read) or any(file.hash == wanted for file in self.reads)


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class Done:
    """A datum that ended.

    Attributes:
        id: 64 hex digits.
        hash: of its inputs, 32 bytes.
        job: id of the job that ran it.
        outputs: what it wrote; the names are keys of a tree.
        details: where its `DatumDetails` lie.
    """

    id: str
    hash: bytes
    state: DatumState
    job: str
    outputs: FileColumns
    details: Content


def result_rows(done: Sequence[Done]) -> pa.Table:
    """Rows for the results tree: of the processed ones only, whatever else is in `done`."""
    kept = _processed(done)
    hashes = [one.hash.hex() for one in kept]
    files = join_files(one.outputs.prefixed(f"{hash}{_SEPARATOR}") for one, hash in zip(kept, hashes, strict=True))
    details, outputs = content_array([one.details for one in kept]).flatten(), columns_array(files.contents).flatten()
    # A row of the datum itself first, then those of its files.
    writers = np.concatenate([np.arange(len(kept)), _writers(kept)])
    return pa.table(
        [
            pa.array([*hashes, *files.split_names()], pa.string()),
            pa.array([bytes.fromhex(one.id) for one in kept], pa.binary()).take(pa.array(writers)),
            *(pa.concat_arrays(columns) for columns in zip(details, outputs, strict=True)),
            pa.array([one.job for one in kept], pa.string()).take(pa.array(writers)),
        ],
        schema=RESULT_ROWS.schema,
    )


def find_results(trees: Trees, root: TreeRoot, hashes: pa.FixedSizeBinaryArray) -> pa.BooleanArray:
    """Which of the datums with these hashes have a result."""
    known = np.zeros(len(hashes), np.bool_)
    order = pc.sort_indices(hashes)
    for start in range(0, len(order), _HASHES_AT_ONCE):
        places = order.slice(start, _HASHES_AT_ONCE)
        keys = hex_strings(hashes.take(places))
        found = trees.find(root, keys).column(KEY).combine_chunks()
        known[places.to_numpy()] = pc.is_in(keys, value_set=found).to_numpy(zero_copy_only=False)
    return pa.array(known)


def load_results(trees: Trees, root: TreeRoot, hashes: pa.FixedSizeBinaryArray) -> Iterator[Done]:
    """The results of datums by their hashes, each of which has one; in the order of the hashes. What some thousand of them wrote is in memory."""
    order = pc.sort_indices(hashes)
    for start in range(0, len(order), _HASHES_AT_ONCE):
        some = hex_strings(hashes.take(order.slice(start, _HASHES_AT_ONCE))).to_pylist()
        yield from _results_in(trees.ranges(root, [(prefix, prefix + _AFTER_SEPARATOR) for prefix in some]), some)


def _results_in(rows: pa.Table, hashes: Sequence[str]) -> Iterator[Done]:
    """The results of datums from all their rows; the hashes are sorted as these are."""
    keys = rows.column(KEY).to_pylist()
    own = pc.indices_nonzero(pc.equal(pc.binary_length(rows.column(KEY)), 2 * DIGEST_BYTES))
    ids, jobs = (rows.column(name).take(own).to_pylist() for name in ("datum", "job"))
    details = contents_of(rows.take(own))
    # From the row behind that of the datum to the one before that of the next.
    ends = [*own.to_pylist(), len(rows)]
    files = cut_columns(rows, [place for start in ends[:-1] for place in (start, start + 1)] + ends[-1:])[1::2]
    for number, (prefix, outputs) in enumerate(zip(hashes, files, strict=True)):
        written = FileColumns.named([key[len(prefix) + 1 :] for key in keys[ends[number] + 1 : ends[number + 1]]], outputs)
        yield Done(ids[number].hex(), bytes.fromhex(prefix), DatumState.PROCESSED, jobs[number], written, details[number])


def output_rows(done: Sequence[Done]) -> pa.Table:
    """Rows for the output tree, each with the datum that wrote it: of the processed ones only."""
    kept = _processed(done)
    files = join_files([one.outputs for one in kept])
    datums = pa.array([bytes.fromhex(one.id) for one in kept], pa.binary()).take(pa.array(_writers(kept)))
    return pa.table([pa.array(files.split_names(), pa.string()), datums, *columns_array(files.contents).flatten()], schema=FILE_ROWS.schema)


def _processed(done: Sequence[Done]) -> list[Done]:
    return [one for one in done if one.state is DatumState.PROCESSED]


def _writers(done: Sequence[Done]) -> np.ndarray:
    """Of each file that the datums wrote, the position of its datum."""
    return np.repeat(np.arange(len(done)), np.array([len(one.outputs) for one in done], dtype=np.int64))


def meta_rows(done: Sequence[Done]) -> pa.Table:
    """Rows for the meta tree: of every datum, however it ended."""
    return pa.table(
        [
            pa.array([one.id for one in done], pa.string()),
            pa.array([one.hash for one in done], DATUM_ROWS.schema.field("hash").type),
            pa.array([one.state.value for one in done], pa.uint8()),
            pa.array([one.job for one in done], pa.string()),
            pa.array([one.outputs.split_names() for one in done], pa.list_(pa.string())),
            content_array([one.details for one in done]),
        ],
        schema=DATUM_ROWS.schema,
    )


def output_keys(rows: pa.Table) -> pa.StringArray:
    """The keys of the output files of some rows of a meta tree."""
    return pc.list_flatten(rows.column("outputs")).combine_chunks()
