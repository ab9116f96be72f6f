"""Gives the parts of a split file their names: numbers of 16 hexadecimal digits, which go on behind those that a directory has.

The parts of one stream are named from 0 on where they are written. Only where layers are applied is it known what lies below them, so that two who
append at the same time both keep their parts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from pachyderm_dagster.pfs.filesets import Layer, numbered_key
from pachyderm_dagster.pfs.paths import SEPARATOR, directory_range, path_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_DIGITS = 16
_NUMBER = re.compile(r"[0-9a-f]{16}")


def with_numbers(trees: Trees, base: TreeRoot, layers: Sequence[Layer]) -> list[Layer]:
    """`layers`, lowest first, with the names that numbered ones have above `base`."""
    done: list[Layer] = []
    for layer in layers:
        done.append(layer if layer.numbered is None else _renamed(layer, layer.numbered, _first_free(trees, base, done, layer.numbered)))
    return done


def _renamed(layer: Layer, directory: str, first: int) -> Layer:
    if not first:
        return replace(layer, numbered=None)
    keys = pa.array([numbered_key(directory, number) for number in range(first, first + len(layer.puts))], pa.string())
    return replace(layer, puts=layer.puts.set_column(0, layer.puts.schema.field(0), keys), numbered=None)


def _first_free(trees: Trees, base: TreeRoot, below: Sequence[Layer], directory: str) -> int:
    """The number behind all that a directory has in `base` and the layers above it."""
    prefix = directory + SEPARATOR if directory else ""
    largest = -1
    for layer in reversed(below):
        largest = max(largest, _largest(layer.puts.column("key").to_pylist(), prefix))
        if any(not gone or (prefix or SEPARATOR).startswith(gone + SEPARATOR) for gone in layer.deleted_directories):
            return largest + 1
    return max(largest, _largest_in_tree(trees, base, directory, prefix)) + 1


def _largest(keys: Iterable[str], prefix: str) -> int:
    names = (key.removeprefix(prefix) for key in keys if key.startswith(prefix))
    return max((int(name, 16) for name in names if _NUMBER.fullmatch(name)), default=-1)


def _largest_in_tree(trees: Trees, base: TreeRoot, directory: str, prefix: str) -> int:
    """Looked for by halving, since a tree tells what comes next and not what comes last."""
    low, high = -1, 16**_DIGITS
    stop = prefix + "g"
    while high - low > 1:
        middle = (low + high) // 2
        found = trees.seek(base, numbered_key(directory, middle))
        if found is not None and found < stop:
            low = middle
        else:
            high = middle
    if low < 0 or trees.seek(base, numbered_key(directory, low)) == numbered_key(directory, low):
        return low
    # Other names lie among the numbers.
    start, end = directory_range(path_of(directory))
    return max((_largest(leaf.column("key").to_pylist(), prefix) for leaf in trees.read(base, start, end)), default=-1)
