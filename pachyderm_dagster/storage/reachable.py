"""Marking: what a set of roots reaches in a store, as ids of objects, without a loop over files.

Trees share most of their nodes with the trees before them. A node is read once, wherever it is met again, so that a long history costs one tree and the
changes. What the rows of a leaf refer to is taken as columns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.nodes import decode_node, refs_of
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore, Ref
from pachyderm_dagster.storage.ranges import read_ranges
from pachyderm_dagster.storage.rows import CONTENT_TYPE, REFS_TYPE, TreeKind
from pachyderm_dagster.storage.trees import TreeRoot

Bytes: TypeAlias = npt.NDArray[np.uint8]
_SPAN_BYTES = OBJECT_ID_BYTES + 16
_PENDING_ROWS = 1 << 20


@dataclass(frozen=True, slots=True)
class Documents:
    """Contents that name other contents.

    Attributes:
        among: which contents of a leaf's rows they are.
        refs_in: what the bytes of one of them refer to.
    """

    among: Callable[[pa.RecordBatch], Sequence[Content]]
    refs_in: Callable[[bytes], Iterable[Ref]]


@dataclass(frozen=True, slots=True)
class Root:
    """A tree that is to be kept with all that it refers to."""

    kind: TreeKind
    tree: TreeRoot
    documents: Documents | None = None


class Reachable:
    """What the roots that were added reach.

    Memory: 32 bytes for each object, 130 for each node; with `measure` 48 more for each chunk of a content, so that overlaps are counted once.

    Args:
        measure: keeps which bytes of the objects are reached too, for `live_bytes`.
    """

    def __init__(self, store: ObjectStore, *, measure: bool = False) -> None:
        self._store = store
        self._measure = measure
        self._nodes: set[bytes] = set()
        self._spans = _Distinct(_SPAN_BYTES if measure else OBJECT_ID_BYTES)

    def add_tree(self, root: Root) -> None:
        """Marks the nodes of a tree and the contents of its rows.

        Raises:
            NotFoundError: `object-not-found`, when a node is missing.
            StorageError: `object-corrupt`.
        """
        if root.tree.ref is not None:
            self._add_nodes(root, [root.tree.ref], [root.tree.id])

    def add_refs(self, refs: Sequence[Ref]) -> None:
        """Marks single references."""
        if refs:
            objects = np.frombuffer(b"".join(ref.object for ref in refs), np.uint8).reshape(-1, OBJECT_ID_BYTES)
            self._add_spans(objects, np.array([ref.offset for ref in refs]), np.array([ref.length for ref in refs]))

    def add_columns(self, rows: pa.RecordBatch) -> None:
        """Marks what rows refer to in columns of references or of contents."""
        for field, column in zip(rows.schema, rows.columns, strict=True):
            if field.type == CONTENT_TYPE:
                column = column.field("refs")
            elif field.type != REFS_TYPE:
                continue
            places = column.flatten()
            if len(places):
                objects, offsets, lengths = places.flatten()
                self._add_spans(_fixed_rows(objects), offsets.to_numpy(), lengths.to_numpy())

    def objects(self) -> pa.FixedSizeBinaryArray:
        """The ids of the objects reached, each once."""
        spans = self._spans.array()
        return pc.unique(_fixed_array(_fixed_rows(spans)[:, :OBJECT_ID_BYTES])) if self._measure else spans

    def live_bytes(self) -> pa.Table:
        """For each object reached (`object`) how many of its bytes are (`length`); needs `measure`."""
        spans = _fixed_rows(self._spans.array())
        lengths = np.ascontiguousarray(spans[:, OBJECT_ID_BYTES + 8 :]).view("<i8").reshape(-1)
        table = pa.table({"object": _fixed_array(spans[:, :OBJECT_ID_BYTES]), "length": pa.array(lengths)})
        return table.group_by("object").aggregate([("length", "sum")]).rename_columns({"length_sum": "length"})

    def _add_nodes(self, root: Root, refs: Sequence[Ref], ids: Sequence[bytes]) -> None:
        unread = [(ref, own_id) for ref, own_id in zip(refs, ids, strict=True) if self._is_new(ref)]
        # As they lie in the packs, so that neighbours are read together.
        unread.sort(key=lambda node: (node[0].object, node[0].offset))
        self.add_refs([ref for ref, _ in unread])
        for (ref, own_id), data in zip(unread, read_ranges(self._store, [ref for ref, _ in unread]), strict=True):
            node = decode_node(root.kind, data, ref, own_id)
            if node.level:
                self._add_nodes(root, refs_of(node.rows), node.rows.column("id").to_pylist())
            else:
                self.add_columns(node.rows)
                self._add_documents(root.documents, node.rows)

    def _is_new(self, ref: Ref) -> bool:
        key = ref.object + ref.offset.to_bytes(8, "little")
        if key in self._nodes:
            return False
        self._nodes.add(key)
        return True

    def _add_documents(self, documents: Documents | None, rows: pa.RecordBatch) -> None:
        if documents is None:
            return
        contents = sorted((content for content in documents.among(rows) if content.refs), key=lambda content: (content.refs[0].object, content.refs[0].offset))
        pieces = read_ranges(self._store, [ref for content in contents for ref in content.refs])
        for content in contents:
            self.add_refs(list(documents.refs_in(b"".join(islice(pieces, len(content.refs))))))

    def _add_spans(self, objects: Bytes, offsets: "npt.NDArray[np.int64]", lengths: "npt.NDArray[np.int64]") -> None:
        if not self._measure:
            self._spans.add(objects)
            return
        numbers = np.stack([offsets, lengths], axis=1).astype("<i8", copy=False)
        self._spans.add(np.hstack([objects, np.ascontiguousarray(numbers).view(np.uint8)]))


class _Distinct:
    """A set of byte strings of one length, as rows of an array."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[Bytes] = []
        self._count = 0
        self._limit = _PENDING_ROWS

    def add(self, rows: Bytes) -> None:
        self._rows.append(rows)
        self._count += len(rows)
        if self._count > self._limit:
            self._compact()
            self._limit = 2 * self._count + _PENDING_ROWS

    def array(self) -> pa.FixedSizeBinaryArray:
        self._compact()
        return _fixed_array(self._rows[0])

    def _compact(self) -> None:
        rows = np.concatenate([np.empty((0, self._width), np.uint8), *self._rows])
        distinct = _fixed_rows(pc.unique(_fixed_array(rows)))
        self._rows, self._count = [distinct], len(distinct)


def _fixed_rows(array: pa.FixedSizeBinaryArray) -> Bytes:
    """The values of an array as rows of bytes, not copied."""
    width = array.type.byte_width
    if not len(array):
        return np.empty((0, width), np.uint8)
    return np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, width)[array.offset : array.offset + len(array)]


def _fixed_array(rows: Bytes) -> pa.FixedSizeBinaryArray:
    data = np.ascontiguousarray(rows)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(data)])
