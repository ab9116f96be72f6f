"""Zombies: output files that no datum of the job wrote."""

import dataclasses
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.checking import Problem
from pachyderm_dagster.pfs.model import Commit, RepoType
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, KEY, fixed_array
from pachyderm_dagster.storage.trees import Trees


def find_zombies(database: Database, store: ObjectStore, reference: Reference | None) -> Iterator[Problem]:
    """The zombies of one output commit; of the newest output of every pipeline when `reference` is None.

    Raises:
        InvalidError: `not-an-output`, when no pipeline writes to its repo.
    """
    with database.read() as txn:
        outputs = _outputs(txn, reference)
    trees, meta_trees = Trees(store, FILE_ROWS), Trees(store, DATUM_ROWS)
    for output, meta in outputs:
        yield from _find_in(trees, meta_trees, output, meta)


def _outputs(txn: Transaction, reference: Reference | None) -> list[tuple[Commit, Commit | None]]:
    """Output commits, each with the meta commit of its job."""
    if reference is not None:
        if pipelines.find_pipeline(txn, reference.repo) is None:
            raise InvalidError("not-an-output", f"'{reference}' was not written by a pipeline, and --zombie looks for what no datum wrote")
        rows: Iterable[int] = [references.find_commit(txn, reference)]
    else:
        rows = [row for pipeline in pipelines.list_pipeline(txn) if (row := references.branch_row(txn, pipeline.output).head_id) is not None]
    found = []
    for row in rows:
        output = commits.get_commit(txn, row)
        members = commits.list_commit(txn, dataclasses.replace(output.repo, type=RepoType.META), set_id=output.id)
        found.append((output, members[0] if members else None))
    return found


def _find_in(trees: Trees, meta_trees: Trees, output: Commit, meta: Commit | None) -> Iterator[Problem]:
    """The output files of a job that no datum of its meta commit wrote."""
    ids: list[str] = []
    for rows in meta_trees.read(meta_trees.decode(None if meta is None else meta.tree)):
        ids += rows.column(KEY).filter(pc.equal(rows.column("state"), DatumState.PROCESSED.value)).to_pylist()
    written = fixed_array(bytes.fromhex("".join(ids)), pa.binary(DIGEST_BYTES)).cast(pa.binary())
    for rows in trees.read(trees.decode(output.tree)):
        strange = rows.filter(pc.invert(pc.is_in(rows.column("datum"), value_set=written)))
        for key, datum in zip(strange.column(KEY).to_pylist(), strange.column("datum").to_pylist(), strict=True):
            message = f"file {path_of(key)} of commit '{output}' was written by datum {datum.hex()[:12] or '-'}…, which its job does not have"
            yield Problem("zombie-file", f"{message}; `pachctl rerun pipeline {output.repo.name} --reprocess` makes the output again")
