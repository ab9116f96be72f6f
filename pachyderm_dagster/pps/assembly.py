"""A job's output and meta tree from its base, what it ran and what it restored (docs/design/0003)."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.conflicts import Conflict, find_conflict
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.results import output_keys
from pachyderm_dagster.storage.sorted_rows import SortedRows
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_DATUMS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class JobTrees:
    """The trees of a job: what it builds on, or what it made."""

    output: TreeRoot
    meta: TreeRoot


def assemble_meta(trees: Trees, base: TreeRoot, plan: Plan, rows: SortedRows) -> TreeRoot:
    """The base's datums without the dropped ones, and with those that were run or restored, whose rows these are."""
    return trees.merge(base, rows.read(), plan.drop)


def assemble_output(trees: Trees, meta_trees: Trees, base: JobTrees, plan: Plan, rows: SortedRows) -> TreeRoot:
    """The base's output without the files of dropped datums, and with those that the run or restored ones wrote, whose rows these are. Costs what changed.

    Raises:
        InvalidError: `output-conflict`, when two datums write one path, or one writes a file where another writes a directory.
    """
    deletes = _outputs_of(meta_trees, base.meta, plan.drop)
    return trees.merge(base.output, _checked(trees, base.output, rows.read(), deletes), deletes)


def _outputs_of(meta_trees: Trees, meta: TreeRoot, ids: pa.StringArray) -> pa.StringArray:
    """The keys of the output files of datums."""
    keys = [output_keys(meta_trees.find(meta, ids.slice(start, _DATUMS_AT_ONCE))) for start in range(0, len(ids), _DATUMS_AT_ONCE)]
    return pa.concat_arrays([pa.array([], pa.string()), *keys])


def _checked(trees: Trees, root: TreeRoot, batches: Iterator[pa.RecordBatch], deletes: pa.StringArray) -> Iterator[pa.RecordBatch]:
    """The rows, which are in the order of their keys, once it is known that they fit among those that stay. Raises as `assemble_output`."""
    before: list[pa.RecordBatch] = []
    for rows in batches:
        # Files of one path, or of which one is in the other's way, are neighbours; so a cut never hides any from this look.
        conflict = find_conflict(trees, root, pa.Table.from_batches([*before, rows]), deletes)
        if conflict is not None:
            raise _output_conflict(conflict)
        yield rows
        before = [rows.slice(rows.num_rows - 1)]


def _output_conflict(conflict: Conflict) -> InvalidError:
    first, second = conflict.datum.hex()[:12], conflict.other_datum.hex()[:12]
    path, other = path_of(conflict.key), path_of(conflict.other_key)
    if path == other:
        return InvalidError("output-conflict", f"datums {first}… and {second}… both write {path}; let each write a path of its own")
    return InvalidError(
        "output-conflict", f"datum {first}… writes the file {path} and datum {second}… writes {other} below it; let each write a path of its own"
    )
