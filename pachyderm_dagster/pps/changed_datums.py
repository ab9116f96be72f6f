"""The datums that changes of an input touch: what a job has to look at whose base read the same input a little earlier. Costs what changed."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.entries import ENTRIES, find_entry
from pachyderm_dagster.pfs.globs import Glob
from pachyderm_dagster.pfs.path_columns import directory_keys, paths_of
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.pps.datums import Datums, datum_table
from pachyderm_dagster.pps.directory_hashes import hash_by_files
from pachyderm_dagster.pps.inputs import Input, PfsInput, leaf_key
from pachyderm_dagster.storage.rows import KEY
from pachyderm_dagster.storage.trees import TreeRoot, Trees

MOST_CHANGED = 1_000
"""Files; with more of them a look at all datums is about as quick."""


@dataclass(frozen=True, slots=True)
class ConsideredDatums:
    """Datums of a job, and what its base has of them; of all others both have the same, done.

    Attributes:
        datums: of the job: all, or those that may have changed.
        base_rows: the rows of the base's meta tree with which they are compared.
        total: how many datums the job has.
    """

    datums: Datums
    base_rows: pa.Table
    total: int


def changed_datums(
    trees: Trees, meta_trees: Trees, input: Input | None, salt: str, before: TreeRoot, now: TreeRoot, base_meta: TreeRoot, *, by_files: bool = False
) -> ConsideredDatums | None:
    """The datums that may have changed between two contents of the one branch that `input` reads; None when all have to be looked at.

    Args:
        salt: of the version, the same for both.
        before: what the job read that made `base_meta`, in which every datum is done.
        by_files: whether directories have the hashes of `hash_by_files`.
    """
    if not isinstance(input, PfsInput) or input.batch is not None:
        return None
    glob = Glob.parse(input.glob)
    if glob.match_paths([ROOT])[0].as_py() or abs(now.count - before.count) > MOST_CHANGED:
        return None
    found = trees.diff(before, now)
    keys = pc.unique(pa.concat_arrays([rows.column(KEY).combine_chunks() for rows in (found.old_rows, found.new_rows)]))
    if len(keys) > MOST_CHANGED:
        return None
    paths = pc.unique(pa.concat_arrays([paths_of(keys), paths_of(directory_keys(keys))]))
    matched = paths.filter(glob.match_paths(paths)).sort()
    there, datums = (datum_table(input, {leaf_key(input): _entries(trees, root, matched, by_files=by_files)}, salt) for root in (before, now))
    ids = pc.unique(pa.concat_arrays([known.table.column("id").combine_chunks() for known in (there, datums)]))
    base_rows = meta_trees.find(base_meta, ids)
    return ConsideredDatums(datums, base_rows, base_meta.count - len(base_rows) + len(datums))


def _entries(trees: Trees, root: TreeRoot, paths: pa.StringArray, *, by_files: bool) -> pa.Table:
    """Those of these paths that are there, as a glob gives them."""
    found = [entry for path in paths.to_pylist() if (entry := find_entry(trees, root, path)) is not None]
    rows = [{"path": entry.path, "type": entry.type, "size": entry.size_bytes, "hash": bytes.fromhex(entry.hash)} for entry in found]
    entries = pa.Table.from_pylist(rows, schema=ENTRIES)
    return hash_by_files(trees, root, entries) if by_files else entries
