"""The files that the leaves of an input match, numbered through: leaf by leaf, each in path order, with their keys for joins and groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.globs import Glob
from pachyderm_dagster.pps.bundles import Files, Flags
from pachyderm_dagster.pps.inputs import Input, Leaf, leaf_key, leaves
from pachyderm_dagster.storage.rows import one_array

KeyKind: TypeAlias = Literal["join_on", "group_by"]


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files of an input.

    Attributes:
        leaves: the inputs, by name, each once.
        tables: for each its files: path, hash, type, `join_on` and `group_by` where the input says them, and what else was given.
        starts: for each the number of its first file, and at the end how many files there are.
    """

    leaves: tuple[Leaf, ...]
    tables: tuple[pa.Table, ...]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, input: Input, files: Mapping[str, pa.Table]) -> "InputFiles":
        """Numbers the files that each leaf's glob matched, by `leaf_key`."""
        by_key = {leaf_key(leaf): leaf for leaf in sorted(leaves(input), key=lambda leaf: (leaf.name, leaf_key(leaf)))}
        tables = tuple(_with_keys(leaf, files[key]) for key, leaf in by_key.items())
        return cls(tuple(by_key.values()), tables, np.cumsum([0, *map(len, tables)]))

    def number(self, leaf: Leaf) -> int:
        """Which of `leaves` this one is."""
        return [leaf_key(known) for known in self.leaves].index(leaf_key(leaf))

    def of_leaves(self, numbers: Files) -> Iterator[tuple[Leaf, pa.Table]]:
        """The files with these numbers, which ascend, leaf by leaf."""
        bounds = np.searchsorted(numbers, self.starts)
        for place, (leaf, table) in enumerate(zip(self.leaves, self.tables, strict=True)):
            chosen = numbers[bounds[place] : bounds[place + 1]]
            if len(chosen):
                yield leaf, table.take(pa.array(chosen - self.starts[place]))

    def keys(self, kind: KeyKind) -> Files:
        """For every file a number that stands for its key and ascends with it; of a file without one it means nothing."""
        texts = [one_array(table.column(kind)) if kind in table.column_names else pa.repeat("", len(table)) for table in self.tables]
        encoded = pa.concat_arrays([pa.array([], pa.string()), *(pc.fill_null(some, "") for some in texts)]).dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        numbers: Files = ranks[encoded.indices.to_numpy()]
        return numbers

    def outer(self) -> Flags:
        """Of which files the input says `outer_join`."""
        said = np.array([leaf.outer_join for leaf in self.leaves])
        return np.repeat(said, np.diff(self.starts))

    def same(self) -> Files | None:
        """For every file the first number of that same file, as another glob of an input of its name may match it too; None when all differ."""
        places = [(leaf.name, leaf.project, leaf.repo, leaf.branch) for leaf in self.leaves]
        if len(set(places)) == len(places):
            return None
        texts = [_placed(place, table) for place, table in zip(map(places.index, places), self.tables, strict=True)]
        encoded = pa.chunked_array(texts, pa.large_string()).combine_chunks().dictionary_encode()
        _, first, inverse = np.unique(encoded.indices.to_numpy(), return_index=True, return_inverse=True)
        return first[inverse].astype(np.int32)


def _placed(place: int, table: pa.Table) -> pa.Array:
    paths = table.column("path").combine_chunks().cast(pa.large_string())
    return pc.binary_join_element_wise(pa.scalar(str(place), pa.large_string()), paths, pa.scalar("", pa.large_string()))


def _with_keys(leaf: Leaf, files: pa.Table) -> pa.Table:
    names: Sequence[str] = ("path", "hash", "type", "size")
    table = files.select([name for name in names if name in files.column_names]).combine_chunks()
    for kind, template in (("join_on", leaf.join_on), ("group_by", leaf.group_by)):
        if template:
            table = table.append_column(kind, Glob.parse(leaf.glob).expand_all(template, table.column("path")))
    return table
