"""Mending damaged objects from copies: the same small content or tree node often lies in another pack too.

An object is replaced as a whole and keeps its key, so that nothing that refers to it has to change. The new bytes are first stored under `mended/`:
whoever is killed between taking the old object away and storing the new one leaves it there, for the next one to put in place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.nodes import decode_node
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, OBJECTS, ObjectStore, Ref, find_object_id, get_ref, is_damage, object_key, parse_object_id
from pachyderm_dagster.storage.packs import encode_index, find_pack_index
from pachyderm_dagster.storage.rows import TreeKind

MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a damaged reference should hold: a chunk (`kind` is None) or a tree node, by its id."""

    id: bytes
    kind: TreeKind | None


def mend(store: ObjectStore, damage: Mapping[Ref, Expected | None]) -> set[bytes]:
    """Replaces the objects for all of whose damaged references a copy is found; None means that nobody knows what was there. The ids of those replaced.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    finish_mending(store)
    copies = _find_copies(store, damage)
    mended = set()
    for object_id in {ref.object for ref in damage}:
        found = {ref: copies.get(ref) for ref in damage if ref.object == object_id}
        blobs = {ref: data for ref, data in found.items() if data is not None}
        if len(blobs) == len(found):
            _replace(store, object_id, _with(store, object_id, blobs))
            mended.add(object_id)
    return mended


def finish_mending(store: ObjectStore) -> None:
    """Puts in place what somebody who was killed had mended."""
    for info in list(store.list(MENDED)):
        object_id = parse_object_id(info.key.rpartition("/")[2])
        if object_id is None:
            continue
        store.put_new(object_key(object_id), store.get(info.key))
        store.delete(info.key)


def _find_copies(store: ObjectStore, damage: Mapping[Ref, Expected | None]) -> dict[Ref, bytes]:
    """The bytes of damaged references, from wherever else they are."""
    wanted: dict[bytes, list[Ref]] = {}
    for ref, expected in damage.items():
        if expected is not None:
            wanted.setdefault(expected.id, []).append(ref)
    found: dict[Ref, bytes] = {}
    for info in store.list(OBJECTS):
        object_id = find_object_id(info.key)
        if object_id is None:
            continue
        for blob_id, place in _index(store, object_id, info.size):
            for ref in wanted.get(blob_id, ()):
                if ref not in found and place.length == ref.length and place not in damage:
                    data = _read(store, place, damage[ref])
                    found |= {} if data is None else {ref: data}
    return found


def _index(store: ObjectStore, object_id: bytes, size: int) -> Sequence[tuple[bytes, Ref]]:
    try:
        return find_pack_index(store, object_id, size) or ()
    except PachydermError as error:
        if not is_damage(error):
            raise
        return ()


def _read(store: ObjectStore, place: Ref, expected: Expected | None) -> bytes | None:
    """What a copy holds, if it is undamaged."""
    assert expected is not None
    try:
        data = bytes(get_ref(store, place))
        if expected.kind is not None:
            decode_node(expected.kind, data, place, expected.id)
        elif content_digest(data) != expected.id:
            return None
    except PachydermError as error:
        if not is_damage(error):
            raise
        return None
    return data


def _with(store: ObjectStore, object_id: bytes, blobs: Mapping[Ref, bytes]) -> bytes:
    """The object with those blobs in their places; with an index of its own when it has none any more."""
    try:
        old = store.get(object_key(object_id))
    except PachydermError as error:
        if not is_damage(error):
            raise
        old = b""
    whole = bool(_index(store, object_id, len(old))) if old else False
    data = bytearray(old)
    for ref, blob in blobs.items():
        data.extend(bytes(max(ref.offset + ref.length - len(data), 0)))
        data[ref.offset : ref.offset + ref.length] = blob
    if whole:
        return bytes(data)
    return bytes(data) + encode_index(*_entries(len(data), sorted(blobs, key=lambda ref: ref.offset), blobs))


def _entries(size: int, refs: Iterable[Ref], blobs: Mapping[Ref, bytes]) -> tuple[list[bytes], list[int]]:
    """Ids and lengths of an index over all of an object; what is between the known blobs has no id."""
    ids, lengths, end = [], [], 0
    for ref in refs:
        if ref.offset > end:
            ids.append(bytes(OBJECT_ID_BYTES))
            lengths.append(ref.offset - end)
        ids.append(content_digest(blobs[ref]))
        lengths.append(ref.length)
        end = ref.offset + ref.length
    if size > end:
        ids.append(bytes(OBJECT_ID_BYTES))
        lengths.append(size - end)
    return ids, lengths


def _replace(store: ObjectStore, object_id: bytes, data: bytes) -> None:
    key, aside = object_key(object_id), f"{MENDED}/{object_id.hex()}"
    store.put_new(aside, data)
    store.delete(key)
    store.put_new(key, data)
    store.delete(aside)
