"""Rows for trees, from dictionaries."""

import dataclasses
import random
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.rows import FILE_ROWS, content_array

# Deep trees of few rows.
SMALL_NODES = dataclasses.replace(FILE_ROWS, rows_per_node=4)


def file_rows(sizes: Mapping[str, int], *, place: int = 0, datum: bytes = b"") -> pa.Table:
    """A file row a key: the size decides the hash, `place` where the content is said to lie. In the dictionary's order."""
    contents = [Content(content_digest(b"%d" % size), size, (Ref(bytes([place]) * 32, place, size),)) for size in sizes.values()]
    columns = [pa.array(sizes, pa.string()), pa.array([datum] * len(sizes), pa.binary()), *content_array(contents).flatten()]
    return pa.Table.from_arrays(columns, schema=FILE_ROWS.schema)


def sizes_of(rows: pa.Table) -> dict[str, int]:
    """The dictionary that `file_rows` was given."""
    return dict(zip(rows.column("key").to_pylist(), rows.column("size").to_pylist(), strict=True))


def many_sizes(count: int, seed: int = 0) -> dict[str, int]:
    """Rows of paths in folders, shuffled."""
    source = random.Random(seed)
    keys = [f"folder{number % 10}\0file{number:06d}" for number in range(count)]
    source.shuffle(keys)
    return {key: source.randrange(1000) for key in keys}


def keys_array(keys: Sequence[str]) -> pa.Array:
    return pa.array(keys, pa.string())
