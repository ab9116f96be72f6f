"""Nodes of a tree: their boundaries, ids and stored form.

A leaf holds rows, an index node an entry a child. A node ends after a key whose hash says so, so that the same rows make the same nodes whatever
the order of edits. Its id covers what its rows mean, not where contents and children lie.

Stored form: magic and version, level, id, checksum, then the rows as an Arrow IPC record batch without its schema: since version 2 its length and
zstd of it, in version 1 as it is.
"""

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from pachyderm_dagster.codec import Buffer, digest
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, Ref, StoredRanges, corrupt_object, get_ref, object_key
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.ranges import read_ranges
from pachyderm_dagster.storage.rows import HASH_TYPE, KEY, TreeKind

INDEX_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),  # the last key below the child
        ("id", HASH_TYPE),
        ("object", pa.binary(OBJECT_ID_BYTES)),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("count", pa.int64()),  # rows below the child
        ("size_bytes", pa.int64()),
    ]
)
NO_ENTRIES = pa.RecordBatch.from_pylist([], schema=INDEX_SCHEMA)
INDEX_LOGICAL = (KEY, "id", "count", "size_bytes")
_HEADER = struct.Struct("<3sBB3x32s32s")
_MAGIC = b"PDT"
_PLAIN, _COMPRESSED = 1, 2
_BODY_LENGTH = struct.Struct("<Q")
_ZSTD = pa.Codec("zstd", compression_level=1)
_WINDOW_BYTES = 2 * 1024 * 1024
_SLICED = 1.25


@dataclass(frozen=True, slots=True)
class Node:
    """A node in memory: level 0 is a leaf, whose rows are of the tree's kind; above it rows are of `INDEX_SCHEMA`."""

    level: int
    rows: pa.RecordBatch


def node_id(kind: TreeKind, node: Node) -> bytes:
    """The id of a node: equal for nodes of equal level and logical columns. 32 bytes."""
    names = kind.logical if node.level == 0 else INDEX_LOGICAL
    columns = [_canonical(node.rows.column(name)) for name in names]
    return _id_of_part(kind, node.level, columns, 0, node.rows.num_rows)


def leaf_ids(kind: TreeKind, rows: pa.RecordBatch, bounds: Iterable[tuple[int, int]]) -> list[bytes]:
    """What `node_id` gives for a leaf of rows first..end, for each (first, end) of `bounds`."""
    columns = [_canonical(rows.column(name)) for name in kind.logical]
    return [_id_of_part(kind, 0, columns, first, end) for first, end in bounds]


_Slices = Callable[[int, int], tuple[Buffer, ...]]


def _id_of_part(kind: TreeKind, level: int, columns: Sequence[_Slices], start: int, stop: int) -> bytes:
    parts: list[Buffer] = [(stop - start).to_bytes(8, "little")]
    for column in columns:
        parts.extend(column(start, stop))
    return digest(f"tree:{kind.name}:{level}", parts)


def _canonical(array: pa.Array) -> _Slices:
    """Gives a part of an array as bytes, the same wherever it was sliced from: lengths instead of offsets, no padding, no validity (nulls are refused)."""
    if array.null_count:
        raise ValueError(f"logical columns of a tree hold no nulls; found {array.null_count} in a column of {array.type}")
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        offsets, lengths = _offsets(array)
        text = _bytes_of(array.buffers()[2])
        return lambda start, stop: (lengths[4 * start : 4 * stop], text[offsets[start] : offsets[stop]])
    if pa.types.is_list(kind):
        offsets, lengths = _offsets(array)
        first = offsets[0]
        inner = _canonical(array.values.slice(first, offsets[-1] - first))
        return lambda start, stop: (lengths[4 * start : 4 * stop], *inner(offsets[start] - first, offsets[stop] - first))
    if pa.types.is_integer(kind) or pa.types.is_fixed_size_binary(kind):
        width, skipped = kind.bit_width // 8, array.offset
        data = _bytes_of(array.buffers()[1])
        return lambda start, stop: (data[(skipped + start) * width : (skipped + stop) * width],)
    raise TypeError(f"a logical column of a tree cannot be of type {kind}")


def _bytes_of(buffer: pa.Buffer | None) -> memoryview:
    return memoryview(b"" if buffer is None else buffer)


def _offsets(array: pa.Array) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int32]], memoryview]":
    """Where each value begins, and the last one ends; the lengths of all, as bytes."""
    data = array.buffers()[1]
    if data is None or not len(array):
        offsets = np.zeros(1, dtype=np.int32)
    else:
        offsets = np.frombuffer(data, dtype=np.int32, count=len(array) + 1, offset=array.offset * 4)
    return offsets, memoryview(np.diff(offsets).tobytes())


def closes(kind: TreeKind, keys: pa.Array, level: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """For each key, whether a node of this level ends after it."""
    raw = keys.cast(pa.binary()).to_pylist()
    hashes = np.fromiter(map(xxh3_64_intdigest, raw, repeat(level)), dtype=np.uint64, count=len(raw))
    return np.asarray((hashes & np.uint64(kind.rows_per_node - 1)) == 0)


def is_boundary(kind: TreeKind, key: str, level: int) -> bool:
    """Whether a node of this level ends after a key."""
    return xxh3_64_intdigest(key.encode(), level) & (kind.rows_per_node - 1) == 0


def encode_node(node: Node, own_id: bytes) -> bytes:
    """A node as it is stored."""
    rows = node.rows.serialize()
    body = _BODY_LENGTH.pack(rows.size) + _ZSTD.compress(rows, asbytes=True)
    return b"".join((_HEADER.pack(_MAGIC, _COMPRESSED, node.level, own_id, _checksum(node.level, own_id, body)), body))


def decode_node(kind: TreeKind, data: Buffer, ref: Ref, own_id: bytes) -> Node:
    """The node stored in `data`, which `ref` named.

    Raises:
        StorageError: `object-corrupt`, when it is not the node `own_id`, whole and undamaged.
    """
    key = object_key(ref.object)
    if len(data) < _HEADER.size:
        raise corrupt_object(key, f"{len(data)} bytes from {ref.offset} are too few for a tree node")
    magic, version, level, found_id, checksum = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    if magic != _MAGIC or version not in (_PLAIN, _COMPRESSED) or found_id != own_id or checksum != _checksum(level, found_id, body):
        raise corrupt_object(key, f"the {ref.length} bytes from {ref.offset} are not tree node {own_id.hex()}")
    return Node(level, pa.ipc.read_record_batch(_rows_in(version, body), INDEX_SCHEMA if level else kind.schema))


def _rows_in(version: int, body: memoryview) -> pa.Buffer:
    if version == _PLAIN:
        return pa.py_buffer(bytes(body))  # a copy: aligned, and it does not hold on to the neighbours that were read along
    (length,) = _BODY_LENGTH.unpack_from(body)
    return _ZSTD.decompress(body[_BODY_LENGTH.size :], decompressed_size=length)


def _checksum(level: int, own_id: bytes, body: Buffer) -> bytes:
    return digest("node", [bytes([level]), own_id, body])


def index_rows(keys: pa.Array, ids: Sequence[bytes], refs: Sequence[Ref], counts: Sequence[int], sizes: Sequence[int]) -> pa.RecordBatch:
    """Entries of an index node, from their columns."""
    columns = [
        keys,
        pa.array(ids, HASH_TYPE),
        pa.array([ref.object for ref in refs], pa.binary(OBJECT_ID_BYTES)),
        pa.array([ref.offset for ref in refs], pa.int64()),
        pa.array([ref.length for ref in refs], pa.int64()),
        pa.array(counts, pa.int64()),
        pa.array(sizes, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=INDEX_SCHEMA)


def refs_of(entries: pa.RecordBatch) -> list[Ref]:
    """Where the children of index entries are stored."""
    return list(map(Ref, *(entries.column(name).to_pylist() for name in ("object", "offset", "length"))))


class NodeCache:
    """The nodes last used, up to a number of bytes. For several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._nodes: OrderedDict[Ref, Node] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, ref: Ref, node: Node) -> None:
        """Keeps a node for later."""
        with self._lock:
            if ref in self._nodes:
                return
            self._nodes[ref] = node
            self._bytes += node.rows.nbytes
            while self._bytes > self._limit_bytes:
                _, dropped = self._nodes.popitem(last=False)
                self._bytes -= dropped.rows.nbytes

    def find(self, ref: Ref) -> Node | None:
        """The node at `ref`, if it is kept."""
        with self._lock:
            node = self._nodes.get(ref)
            if node is not None:
                self._nodes.move_to_end(ref)
            return node


class NodeStore:
    """Loads the nodes of one kind of tree. For several threads."""

    def __init__(self, store: StoredRanges, kind: TreeKind, cache: NodeCache) -> None:
        self.store = store
        self.kind = kind
        self.cache = cache

    def load(self, ref: Ref, own_id: bytes) -> Node:
        """One node.

        Raises:
            NotFoundError: `object-not-found`.
            StorageError: `object-corrupt`.
        """
        node = self.cache.find(ref)
        if node is None:
            node = decode_node(self.kind, get_ref(self.store, ref), ref, own_id)
            self.cache.add(ref, node)
        return node

    def load_many(self, refs: Sequence[Ref], ids: Sequence[bytes]) -> Iterator[Node]:
        """Nodes in the order given; neighbours in a pack are read together. Raises as `load` does."""
        cached = [self.cache.find(ref) for ref in refs]
        # A list: read_ranges looks ahead, while `cached` is emptied below.
        absent = [ref for ref, node in zip(refs, cached, strict=True) if node is None]
        missing = read_ranges(self.store, absent, _WINDOW_BYTES)
        for position, (ref, own_id) in enumerate(zip(refs, ids, strict=True)):
            node = cached[position]
            cached[position] = None  # or this list would keep in memory what the cache lets go
            if node is None:
                node = decode_node(self.kind, next(missing), ref, own_id)
                self.cache.add(ref, node)
            yield node

    def load_children(self, entries: pa.RecordBatch) -> Iterator[Node]:
        """The children of index entries, as `load_many` gives them."""
        return self.load_many(refs_of(entries), entries.column("id").to_pylist())


class NodeWriter:
    """Puts new nodes into packs; whoever gives these flushes them."""

    def __init__(self, nodes: NodeStore, packs: PackWriter) -> None:
        self._nodes = nodes
        self._packs = packs

    def write(self, node: Node, own_id: bytes) -> Ref:
        """Where the node will be once the packs were flushed."""
        data = encode_node(node, own_id)
        ref = self._packs.add(data, own_id)
        # Of a slice the rows as they were encoded: it would keep all the rows around it in memory.
        is_slice = node.rows.get_total_buffer_size() > _SLICED * node.rows.nbytes
        self._nodes.cache.add(ref, decode_node(self._nodes.kind, data, ref, own_id) if is_slice else node)
        return ref

    def load(self, ref: Ref, own_id: bytes) -> Node:
        """A node, also one that is not stored yet; raises as `NodeStore.load` does."""
        cached = self._nodes.cache.find(ref)
        if cached is not None:
            return cached
        pending = self._packs.find_pending(ref)
        return self._nodes.load(ref, own_id) if pending is None else decode_node(self._nodes.kind, pending, ref, own_id)
