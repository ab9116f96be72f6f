"""A job's output and meta tree from its base, what it ran and what it restored (docs/design/0003)."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.conflicts import check_conflicts
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.results import Done, meta_rows, output_keys, output_rows
from pachyderm_dagster.storage.rows import KEY
from pachyderm_dagster.storage.trees import TreeRoot, Trees


@dataclass(frozen=True, slots=True)
class JobTrees:
    """The trees of a job: what it builds on, or what it made."""

    output: TreeRoot
    meta: TreeRoot


def assemble_meta(trees: Trees, base: TreeRoot, plan: Plan, done: Sequence[Done]) -> TreeRoot:
    """The base's datums without the dropped ones, and with those that were run or restored."""
    rows = meta_rows(done)
    gone = plan.drop.filter(pc.invert(pc.is_in(plan.drop, value_set=rows.column(KEY).combine_chunks())))
    return trees.apply(base, rows, gone)


def assemble_output(trees: Trees, meta_trees: Trees, base: JobTrees, plan: Plan, done: Sequence[Done]) -> TreeRoot:
    """The base's output without the files of dropped datums, and with those that the run or restored ones wrote. Costs what changed.

    Raises:
        InvalidError: `output-conflict`, when two datums write one path, or one writes a file where another writes a directory.
    """
    rows = output_rows(done)
    keys = rows.column(KEY).combine_chunks()
    deletes = output_keys(meta_trees.find(base.meta, plan.drop))
    staying = trees.find(base.output, pc.unique(keys))
    staying = staying.filter(pc.invert(pc.is_in(staying.column(KEY), value_set=deletes)))
    _refuse_repeated(pa.concat_tables([rows.select([KEY, "datum"]), staying.select([KEY, "datum"])]))
    try:
        check_conflicts(trees, base.output, keys, deletes)
    except InvalidError as error:
        raise InvalidError("output-conflict", f"two datums write what cannot live together: {error.message}") from error
    return trees.apply(base.output, rows, deletes.filter(pc.invert(pc.is_in(deletes, value_set=keys))))


def _refuse_repeated(rows: pa.Table) -> None:
    counts = rows.column(KEY).combine_chunks().value_counts()
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        key = repeated[0].as_py()
        first, second = rows.filter(pc.equal(rows.column(KEY), key)).column("datum").to_pylist()[:2]
        raise InvalidError("output-conflict", f"datums {first.hex()[:12]}… and {second.hex()[:12]}… both write {path_of(key)}; let each write a path of its own")
