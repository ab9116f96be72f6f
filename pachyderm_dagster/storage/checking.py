"""Checking a store: that everything which roots reach is there and undamaged, and what a damaged object hurts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.content import Content, hash_of_chunks
from pachyderm_dagster.storage.mending import Expected
from pachyderm_dagster.storage.nodes import Node, decode_node, node_id, refs_of
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, OBJECTS, ObjectStore, Ref, corrupt_object, find_object_id, get_ref, is_damage, object_key
from pachyderm_dagster.storage.ranges import read_ranges
from pachyderm_dagster.storage.reachable import Documents, Root
from pachyderm_dagster.storage.rows import CONTENT_TYPE, KEY, REFS_TYPE, TreeKind, contents_of
from pachyderm_dagster.storage.tree_reading import totals

_NAMED_FILES = 10
_CONTENTS_AT_ONCE = 256


class ObjectSizes:
    """The sizes of all objects in a store, from its listing: 40 bytes an object."""

    def __init__(self, store: ObjectStore) -> None:
        ids, sizes = [], []
        for info in store.list(OBJECTS):
            object_id = find_object_id(info.key)
            if object_id is not None:
                ids.append(object_id)
                sizes.append(info.size)
        found = np.frombuffer(b"".join(ids), dtype=f"V{OBJECT_ID_BYTES}")
        order = np.argsort(_sortable(found), kind="stable")
        self._ids, self._sizes = _sortable(found)[order], np.array(sizes, np.int64)[order]

    def __len__(self) -> int:
        return len(self._sizes)

    def of(self, objects: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """The size of each of some objects, whose ids are joined; -1 of one that is missing."""
        wanted = _sortable(np.frombuffer(objects, dtype=f"V{OBJECT_ID_BYTES}"))
        if not len(self._ids):
            return np.full(len(wanted), -1, np.int64)
        places = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        return np.where(self._ids[places] == wanted, self._sizes[places], -1)


def _sortable(ids: "np.ndarray[tuple[int], np.dtype[np.void]]") -> "np.ndarray[tuple[int], np.dtype[np.bytes_]]":
    # All are of one length, so that the zero bytes that numpy leaves out at the end of a text make no two equal.
    return ids.view(f"S{OBJECT_ID_BYTES}")


@dataclass(frozen=True, slots=True)
class Hurt:
    """What damage does to one tree: how many rows cannot be read, and the keys of some."""

    count: int
    keys: tuple[str, ...]


@dataclass(slots=True)
class Checked:
    """What was looked at, and what is wrong: reasons by reference, of nodes and of contents, and what should be there where that is known."""

    nodes: int = 0
    bytes_read: int = 0
    damage: dict[Ref, str] = field(default_factory=dict)
    expected: dict[Ref, Expected] = field(default_factory=dict)


class StoreChecker:
    """Walks trees; a node is read once, wherever it is met again.

    Memory: 40 bytes an object, about 130 a node, and with `deep` about 100 a content.

    Args:
        deep: reads and verifies all contents too.
        progress: told how many bytes were read.
    """

    def __init__(self, store: ObjectStore, sizes: ObjectSizes, *, deep: bool, progress: Callable[[int], None]) -> None:
        self._store = store
        self._sizes = sizes
        self._deep = deep
        self._progress = progress
        self._seen: set[bytes] = set()
        self._verified: set[bytes] = set()
        self.found = Checked()

    @property
    def objects(self) -> int:
        """How many objects the store holds."""
        return len(self._sizes)

    def check_tree(self, root: Root) -> None:
        """Checks a tree with all that it refers to; what is damaged goes to `found`."""
        if root.tree.ref is not None:
            self._check_nodes(root, [root.tree.ref], [root.tree.id], [(root.tree.count, root.tree.size_bytes)])

    def check_contents(self, contents: Iterable[Content]) -> None:
        """Checks contents that are in no tree."""
        found = list(contents)
        self._missing([ref for content in found for ref in content.refs])
        if self._deep:
            self._verify(found)

    def _check_nodes(self, root: Root, refs: Sequence[Ref], ids: Sequence[bytes], sums: Sequence[tuple[int, int]]) -> None:
        unread = [(ref, own_id, total) for ref, own_id, total in zip(refs, ids, sums, strict=True) if self._is_new(ref)]
        unread.sort(key=lambda node: (node[0].object, node[0].offset))
        missing = self._missing([ref for ref, _, _ in unread])
        there = [node for node in unread if node[0] not in missing]
        self.found.expected |= {ref: Expected(own_id, root.kind) for ref, own_id, _ in unread if ref in missing}
        for (ref, own_id, total), data in zip(there, self._read_each([ref for ref, _, _ in there]), strict=True):
            node = self._decode(root.kind, ref, own_id, total, data)
            if node is None:
                continue
            if node.level:
                entries = zip(node.rows.column("count").to_pylist(), node.rows.column("size_bytes").to_pylist(), strict=True)
                self._check_nodes(root, refs_of(node.rows), node.rows.column("id").to_pylist(), list(entries))
            else:
                self._check_rows(node.rows)
                self._check_documents(root.documents, node.rows)

    def _decode(self, kind: TreeKind, ref: Ref, own_id: bytes, total: tuple[int, int], data: bytes | str) -> Node | None:
        self.found.nodes += 1
        try:
            if isinstance(data, str):
                raise corrupt_object(object_key(ref.object), data)
            node = decode_node(kind, data, ref, own_id)
        except PachydermError as error:
            self.found.damage[ref] = data if isinstance(data, str) else error.message
            self.found.expected[ref] = Expected(own_id, kind)
            return None
        if totals(kind, node.level, node.rows) != total:
            self.found.damage[ref] = f"tree node {own_id.hex()} does not hold what the node above says"
        elif self._deep and node_id(kind, node) != own_id:
            self.found.damage[ref] = f"tree node {own_id.hex()} has rows of another id"
        return node

    def _check_rows(self, rows: pa.RecordBatch) -> None:
        for contents in content_columns(rows):
            places = contents.field("refs").flatten()
            if not len(places):
                continue
            objects, offsets, lengths = places.flatten()
            ends = offsets.to_numpy() + lengths.to_numpy()
            sizes = self._sizes.of(b"".join(objects.to_pylist()))
            bad = np.flatnonzero(sizes < ends).tolist()
            for at in bad:
                self._note_missing(Ref(objects[at].as_py(), offsets[at].as_py(), lengths[at].as_py()), int(sizes[at]))
            if bad:
                self._expect(contents_of(contents))
            if self._deep:
                self._verify(contents_of(contents))

    def _expect(self, contents: Sequence[Content]) -> None:
        """Notes what should be where damage is, for contents of one chunk: its id is their hash."""
        for content in contents:
            if len(content.refs) == 1 and content.refs[0] in self.found.damage:
                self.found.expected[content.refs[0]] = Expected(content.hash, None)

    def _check_documents(self, documents: Documents | None, rows: pa.RecordBatch) -> None:
        if documents is None or not self._deep:
            return
        refs = [ref for content in documents.among(rows) for ref in content.refs if ref not in self.found.damage]
        for data in self._read_each(refs):
            if not isinstance(data, str):
                self._missing(list(documents.refs_in(data)))

    def _missing(self, refs: Sequence[Ref]) -> set[Ref]:
        """The references that do not lie within their objects, noted as damage."""
        if not refs:
            return set()
        sizes = self._sizes.of(b"".join(ref.object for ref in refs))
        gone = {ref: int(size) for ref, size in zip(refs, sizes.tolist(), strict=True) if size < ref.offset + ref.length}
        for ref, size in gone.items():
            self._note_missing(ref, size)
        return set(gone)

    def _note_missing(self, ref: Ref, size: int) -> None:
        key = object_key(ref.object)
        found = "is missing" if size < 0 else f"has {size} bytes where {ref.length} from {ref.offset} should be"
        self.found.damage[ref] = f"object {key!r} {found}"

    def _verify(self, contents: Sequence[Content]) -> None:
        """Reads contents that were not read yet, and compares them with their hashes. A chunk that is an object of its own is read once."""
        new = [content for content in contents if self._is_unverified(content)]
        for start in range(0, len(new), _CONTENTS_AT_ONCE):
            part = new[start : start + _CONTENTS_AT_ONCE]
            refs = [ref for content in part for ref in content.refs if ref not in self.found.damage and self._must_read(ref)]
            digests = {}
            for ref, data in zip(refs, self._read_each(refs), strict=True):
                if isinstance(data, str):
                    self.found.damage[ref] = data
                    continue
                digests[ref] = content_digest(data)
                if ref.length >= MIN_CHUNK_BYTES and digests[ref] != ref.object:
                    self.found.damage[ref] = f"object {object_key(ref.object)!r} has other bytes than were written"
            for content in part:
                self._compare(content, digests)
            if self.found.damage:
                self._expect(part)

    def _must_read(self, ref: Ref) -> bool:
        """Whether a chunk was not read yet; a small one is part of one content."""
        if ref.length < MIN_CHUNK_BYTES:
            return True
        if ref.object in self._verified:
            return False
        self._verified.add(ref.object)
        return True

    def _is_unverified(self, content: Content) -> bool:
        key = content_digest(b"".join((content.hash, *(ref.object + ref.offset.to_bytes(8, "little") for ref in content.refs))))[:16]
        if key in self._verified:
            return False
        self._verified.add(key)
        return True

    def _compare(self, content: Content, digests: Mapping[Ref, bytes]) -> None:
        if any(ref in self.found.damage for ref in content.refs):
            return
        ids = [digests.get(ref, ref.object) for ref in content.refs]
        if hash_of_chunks(ids) != content.hash:
            last = content.refs[-1]
            key = object_key(last.object)
            self.found.damage[last] = f"object {key!r}: the {last.length} bytes from {last.offset} are not what was written"

    def _is_new(self, ref: Ref) -> bool:
        key = ref.object + ref.offset.to_bytes(8, "little")
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _read_each(self, refs: Sequence[Ref]) -> Iterator[bytes | str]:
        """The bytes of each reference, or why they cannot be read."""
        done = 0
        try:
            for data in read_ranges(self._store, refs):
                self._count(len(data))
                yield bytes(data)
                done += 1
            return
        except PachydermError as error:
            if not is_damage(error):
                raise
        for ref in refs[done:]:
            try:
                read: bytes | str = bytes(get_ref(self._store, ref))
                self._count(ref.length)
            except PachydermError as error:
                if not is_damage(error):
                    raise
                read = error.message
            yield read

    def _count(self, size: int) -> None:
        self.found.bytes_read += size
        self._progress(size)


def content_columns(rows: pa.RecordBatch) -> Iterator[pa.StructArray]:
    """The contents that rows have: in columns of contents, or in the columns size, hash and refs."""
    for column_field, column in zip(rows.schema, rows.columns, strict=True):
        if column_field.type == CONTENT_TYPE:
            yield column
        elif column_field.type == REFS_TYPE:
            yield pa.StructArray.from_arrays([rows.column(name) for name in ("size", "hash", "refs")], fields=list(CONTENT_TYPE))


class Hurting:
    """Which rows of trees damage hurts; a node below which all is well is looked at once."""

    def __init__(self, store: ObjectStore, damage: Mapping[Ref, str]) -> None:
        self._store = store
        self._damage = damage
        self._clean: set[Ref] = set()

    def find(self, root: Root) -> Hurt:
        """The rows of a tree that cannot be read."""
        keys: list[str] = []
        count = 0 if root.tree.ref is None else self._below(root.kind, root.tree.ref, root.tree.id, root.tree.count, keys)
        return Hurt(count, tuple(keys[:_NAMED_FILES]))

    def _below(self, kind: TreeKind, ref: Ref, own_id: bytes, count: int, keys: list[str]) -> int:
        if ref in self._clean:
            return 0
        if ref in self._damage:
            return count
        try:
            node = decode_node(kind, get_ref(self._store, ref), ref, own_id)
        except PachydermError as error:
            if not is_damage(error):
                raise
            return count
        hurt = 0
        if node.level:
            counts = node.rows.column("count").to_pylist()
            for child, child_id, below in zip(refs_of(node.rows), node.rows.column("id").to_pylist(), counts, strict=True):
                hurt += self._below(kind, child, child_id, below, keys)
        else:
            hurt = self._rows(node.rows, keys)
        if not hurt:
            self._clean.add(ref)
        return hurt

    def _rows(self, rows: pa.RecordBatch, keys: list[str]) -> int:
        bad = np.zeros(rows.num_rows, np.bool_)
        for contents in content_columns(rows):
            for at, content in enumerate(contents_of(contents)):
                bad[at] |= any(ref in self._damage for ref in content.refs)
        if len(keys) < _NAMED_FILES:
            keys += rows.column(KEY).filter(pa.array(bad)).to_pylist()
        return int(pc.sum(pa.array(bad)).as_py() or 0)
