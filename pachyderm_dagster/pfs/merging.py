"""Makes a tree of a base and the layers staged above it, at a cost that follows from what changed."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.conflicts import find_conflict
from pachyderm_dagster.pfs.filesets import PUT_SCHEMA, Layer
from pachyderm_dagster.pfs.numbering import with_numbers
from pachyderm_dagster.pfs.paths import directory_range, path_of
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.rows import FILE_ROWS, content_array, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_LAYER = pa.field("layer", pa.int64())


def merge(trees: Trees, reader: ContentReader, writer: ContentWriter, base: TreeRoot, layers: Sequence[Layer]) -> TreeRoot:
    """The tree after `layers`, lowest first, were applied to `base`; it is durable when `writer`, into whose packs its nodes go, was flushed.

    `base` and the contents in `layers` may lie in those packs too.

    Contents are read only where something is appended to a file that exists.

    Raises:
        InvalidError: `path-conflict`, when a path would be file and directory; it names both.
    """
    trees, reader = trees.pending(writer.packs), reader.pending(writer.packs)
    if any("" in layer.deleted_directories for layer in layers):
        base = trees.empty
    layers = _in_one(with_numbers(trees, base, layers))
    deleted = _deleted_keys(trees, base, layers)
    if len(layers) == 1 and not pc.any(layers[0].puts.column("append")).as_py():
        # As what follows would make them. Most commits are like this, and what follows takes milliseconds however few the puts.
        rows = layers[0].puts.select(FILE_ROWS.schema.names)
    else:
        puts = _remaining_puts(layers)
        appended = puts.filter(puts.column("append")).column("key")
        starts = _without(trees.find(base, pc.unique(appended)), deleted)
        rows = _joined(reader, writer, starts, puts)
    keys = rows.column("key").combine_chunks()
    conflict = find_conflict(trees, base, rows, pc.unique(pa.concat_arrays([deleted, keys])) if len(deleted) else keys)
    if conflict is not None:
        raise InvalidError(
            "path-conflict",
            f"{path_of(conflict.key)!r} cannot be a file while {path_of(conflict.other_key)!r} makes it a directory; delete one of them or choose another path",
        )
    gone = deleted.filter(pc.invert(pc.is_in(deleted, value_set=keys))) if len(deleted) else None
    return trees.apply(base, rows, gone, writer.packs)


def _in_one(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Layers that only put, and each file once, as one layer: a folder that was put some ten thousand files at a time. Much cheaper than to stack them."""
    if len(layers) < 2 or any(layer.deleted_keys or layer.deleted_directories for layer in layers):
        return layers
    puts = pa.concat_tables([layer.puts for layer in layers])
    if pc.any(puts.column("append")).as_py() or pc.count_distinct(puts.column("key")).as_py() < len(puts):
        return layers
    return [Layer(puts)]


def _deleted_keys(trees: Trees, base: TreeRoot, layers: Sequence[Layer]) -> pa.StringArray:
    """The keys of `base` that some layer deletes (and a later one may have put again), each once."""
    if not any(layer.deleted_keys or layer.deleted_directories for layer in layers):
        return pa.array([], pa.string())
    named = pa.array({key for layer in layers for key in layer.deleted_keys}, pa.string())
    found = [trees.find(base, named).column("key").combine_chunks()]
    for directory in {directory for layer in layers for directory in layer.deleted_directories}:
        found += [table.column("key").combine_chunks() for table in trees.read(base, *directory_range(path_of(directory)))]
    return pc.unique(pa.concat_arrays(found))


def _remaining_puts(layers: Sequence[Layer]) -> pa.Table:
    """The puts that no later layer deletes or replaces, with the numbers of their layers and in that order."""
    schema = PUT_SCHEMA.append(_LAYER)
    tables = [layer.puts.append_column(_LAYER, pa.array([number]).take(pa.repeat(0, len(layer.puts)))) for number, layer in enumerate(layers)]
    puts = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    last_delete = {key: number for number, layer in enumerate(layers) for key in layer.deleted_keys}
    puts = _from_layer_on(puts, pa.array(list(last_delete), pa.string()), pa.array(list(last_delete.values()), pa.int64()))
    for number, layer in enumerate(layers):
        for directory in layer.deleted_directories:
            is_gone = pc.and_(_is_below(puts.column("key"), directory), pc.less(puts.column(_LAYER.name), number))
            puts = puts.filter(pc.invert(is_gone))
    last_put = puts.filter(pc.invert(puts.column("append"))).group_by("key").aggregate([(_LAYER.name, "max")])
    return _from_layer_on(puts, last_put.column("key").combine_chunks(), last_put.column(f"{_LAYER.name}_max"))


def _from_layer_on(puts: pa.Table, keys: pa.Array, numbers: pa.Array) -> pa.Table:
    """`puts` without those whose key is among `keys` and whose layer is below that key's number."""
    first = pc.take(numbers, pc.index_in(puts.column("key"), value_set=keys))
    return puts.filter(pc.fill_null(pc.greater_equal(puts.column(_LAYER.name), first), True))


def _is_below(keys: pa.ChunkedArray, directory: str) -> pa.ChunkedArray:
    start, stop = directory_range(path_of(directory))
    if start is None:
        return pc.is_valid(keys)
    return pc.and_(pc.greater_equal(keys, start), pc.less(keys, stop))


def _joined(reader: ContentReader, writer: ContentWriter, starts: pa.Table, puts: pa.Table) -> pa.Table:
    """One file row a key: puts as they are, appends behind what they follow, which begins with `starts` (rows of the base)."""
    counts = pc.value_counts(puts.column("key"))
    several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    is_joined = pc.is_in(puts.column("key"), value_set=pa.concat_arrays([several, starts.column("key").combine_chunks()]))
    contents = dict(zip(starts.column("key").to_pylist(), contents_of(starts), strict=True))
    # In the order of layers, as `puts` are.
    to_join = puts.filter(is_joined)
    for key, content, append in zip(to_join.column("key").to_pylist(), contents_of(to_join), to_join.column("append").to_pylist(), strict=True):
        before = contents.get(key) if append else None
        contents[key] = content if before is None else writer.append(before, Pieces(reader.stream(content)))
    columns = [pa.array(contents, pa.string()), pa.repeat(b"", len(contents)), *content_array(list(contents.values())).flatten()]
    rows = puts.filter(pc.invert(is_joined)).select(FILE_ROWS.schema.names)
    return pa.concat_tables([rows, pa.Table.from_arrays(columns, schema=FILE_ROWS.schema)])


def _without(rows: pa.Table, keys: pa.StringArray) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows.column("key"), value_set=keys)))
