"""A job's output and meta tree from its base, what it ran and what it restored (docs/design/0003)."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.conflicts import Conflict, find_conflict
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.results import output_keys
from pachyderm_dagster.storage.rows import KEY
from pachyderm_dagster.storage.trees import TreeRoot, Trees


@dataclass(frozen=True, slots=True)
class JobTrees:
    """The trees of a job: what it builds on, or what it made."""

    output: TreeRoot
    meta: TreeRoot


def assemble_meta(trees: Trees, base: TreeRoot, plan: Plan, rows: pa.Table) -> TreeRoot:
    """The base's datums without the dropped ones, and with those that were run or restored, whose rows these are."""
    gone = plan.drop.filter(pc.invert(pc.is_in(plan.drop, value_set=rows.column(KEY).combine_chunks())))
    return trees.apply(base, rows, gone)


def assemble_output(trees: Trees, meta_trees: Trees, base: JobTrees, plan: Plan, rows: pa.Table) -> TreeRoot:
    """The base's output without the files of dropped datums, and with those that the run or restored ones wrote, whose rows these are. Costs what changed.

    Raises:
        InvalidError: `output-conflict`, when two datums write one path, or one writes a file where another writes a directory.
    """
    deletes = output_keys(meta_trees.find(base.meta, plan.drop))
    conflict = find_conflict(trees, base.output, rows, deletes)
    if conflict is not None:
        raise _output_conflict(conflict)
    return trees.apply(base.output, rows, deletes.filter(pc.invert(pc.is_in(deletes, value_set=rows.column(KEY).combine_chunks()))))


def _output_conflict(conflict: Conflict) -> InvalidError:
    first, second = conflict.datum.hex()[:12], conflict.other_datum.hex()[:12]
    path, other = path_of(conflict.key), path_of(conflict.other_key)
    if path == other:
        return InvalidError("output-conflict", f"datums {first}… and {second}… both write {path}; let each write a path of its own")
    return InvalidError(
        "output-conflict", f"datum {first}… writes the file {path} and datum {second}… writes {other} below it; let each write a path of its own"
    )
