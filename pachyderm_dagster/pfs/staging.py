"""Layers as they are stored while their commit is open, and moved with the pack that their contents lie in."""

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pfs.filesets import PUT_SCHEMA, Layer
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, ObjectStore, Ref, corrupt_object, damaged_root, get_ref, object_key
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.storage.rows import content_array, contents_of


class _StagedLayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a layer lies: a reference and the hash of the bytes. Before there were packs of layers each was an object named by its hash."""

    object: bytes
    offset: int
    length: int
    hash: bytes | None = None


def add_layer(packs: PackWriter, layer: Layer) -> bytes:
    """Puts a layer into the pack that is being filled; what is returned, for a column of the database, may be stored behind `packs.flush`."""
    data = layer.encode()
    own_hash = content_digest(data)
    ref = packs.add(data, own_hash)
    return msgspec.msgpack.encode(_StagedLayer(ref.object, ref.offset, ref.length, own_hash))


def layer_ref(staged: bytes) -> Ref:
    """Where the bytes of a staged layer lie.

    Raises:
        StorageError: `root-damaged`.
    """
    place = _decode(staged)
    return Ref(place.object, place.offset, place.length)


def load_layer(store: ObjectStore, staged: bytes) -> Layer:
    """The layer that `add_layer` put away.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`, `root-damaged`; `layer-format`, as `Layer.decode`.
    """
    place = _decode(staged)
    data = bytes(get_ref(store, Ref(place.object, place.offset, place.length)))
    if content_digest(data) != (place.hash or place.object):
        raise corrupt_object(object_key(place.object), f"the {place.length} bytes from {place.offset} are not what was staged")
    return Layer.decode(data)


def _decode(staged: bytes) -> _StagedLayer:
    try:
        place = msgspec.msgpack.decode(staged, type=_StagedLayer)
    except msgspec.DecodeError as error:
        raise damaged_root("layer", str(error)) from error
    if len(place.object) != OBJECT_ID_BYTES:
        raise damaged_root("layer", "an id of the wrong length")
    return place


def relocate(layers: Sequence[Layer], moved: Mapping[Ref, Ref]) -> list[Layer]:
    """Layers whose contents lie where `moved` says."""
    return [dataclasses.replace(layer, puts=_relocated(layer.puts, moved)) for layer in layers]


def _relocated(puts: pa.Table, moved: Mapping[Ref, Ref]) -> pa.Table:
    contents = [msgspec.structs.replace(content, refs=tuple(moved.get(ref, ref) for ref in content.refs)) for content in contents_of(puts.combine_chunks())]
    columns = [puts.column("key"), puts.column("datum"), *content_array(contents).flatten(), puts.column("append")]
    return pa.Table.from_arrays(columns, schema=PUT_SCHEMA)
