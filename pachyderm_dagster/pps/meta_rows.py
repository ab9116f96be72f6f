"""File rows of what datums read, wrote, took and said, from the rows of a meta tree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.paths import AFTER_SEPARATOR, SEPARATOR, directory_range, key_of
from pachyderm_dagster.pfs.references import Reference, parse_reference
from pachyderm_dagster.pps.job_inputs import find_results_root
from pachyderm_dagster.pps.pipelines import find_pipeline
from pachyderm_dagster.pps.results import DatumDetails, DatumRead, output_keys
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.rows import FILE_ROWS, KEY, content_array, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

META, PFS = "meta", "pfs"
DETAILS, LOG, OUT = "meta", "log", "out"


@dataclass(frozen=True, slots=True)
class _Read:
    """A file or directory that a datum read: the key of its input's folder, and the path in its commit."""

    folder: str
    path: str
    is_directory: bool


@dataclass(frozen=True, slots=True)
class DatumFiles:
    """Makes the files of datums of one pipeline."""

    database: Database
    file_trees: Trees
    result_trees: Trees
    reader: ContentReader
    pipeline: RepoName
    _roots: dict[str, TreeRoot | None] = field(default_factory=dict)

    @property
    def empty(self) -> pa.Table:
        """No rows."""
        return FILE_ROWS.schema.empty_table()

    def rows(self, datums: pa.Table, kinds: Sequence[str], wanted: Callable[[str], bool]) -> pa.Table:
        """File rows, in key order.

        Args:
            datums: rows of the meta tree.
            kinds: META, PFS or both.
            wanted: which of the names below a datum's directory.
        """
        found = [self.empty]
        if META in kinds and wanted(DETAILS):
            found.append(_details_rows(datums))
        details = self._details(datums) if PFS in kinds or wanted(LOG) else []
        ids = datums.column(KEY).to_pylist()
        if META in kinds and wanted(LOG):
            found.append(_rows([(_key(META, id, LOG), one.log) for id, one in zip(ids, details, strict=True) if one.log is not None]))
        if PFS in kinds:
            found += self._inputs(ids, details, wanted)
            found += self._outputs(datums) if wanted(OUT) else ()
        return _first_of_each(pa.concat_tables(found).sort_by(KEY))

    def _details(self, datums: pa.Table) -> list[DatumDetails]:
        bodies = self.reader.read_many(contents_of(datums.column("details").combine_chunks()))
        return [msgspec.json.decode(body, type=DatumDetails) for body in bodies]

    def _inputs(self, ids: Sequence[str], details: Sequence[DatumDetails], wanted: Callable[[str], bool]) -> Iterator[pa.Table]:
        by_commit: dict[str, list[_Read]] = {}
        for id, one in zip(ids, details, strict=True):
            for reference, read in _reads(one):
                if wanted(read.name):
                    commit, _, path = reference.partition(":")
                    by_commit.setdefault(commit, []).append(_Read(_key(PFS, id, read.name), path, read.type == "dir"))
        roots = self._find_roots(by_commit)
        for commit, files in by_commit.items():
            if commit in roots:
                yield from self._rows_read(roots[commit], files)

    def _rows_read(self, root: TreeRoot, read: Sequence[_Read]) -> Iterator[pa.Table]:
        files = [one for one in read if not one.is_directory]
        table = self.file_trees.find(root, pa.array(sorted({key_of(one.path) for one in files}), pa.string()))
        contents = dict(zip(table.column(KEY).to_pylist(), contents_of(table), strict=True))
        yield _rows([(f"{one.folder}{SEPARATOR}{key}", contents[key]) for one in files if (key := key_of(one.path)) in contents])
        for one in read:
            if one.is_directory:
                yield _moved(self.file_trees.table(root, *directory_range(one.path)), one.folder)

    def _outputs(self, datums: pa.Table) -> Iterator[pa.Table]:
        writers = datums.filter(pc.greater(pc.list_value_length(datums.column("outputs")), 0))
        jobs = {f"{self.pipeline}@{job}": job for job in pc.unique(writers.column("job")).to_pylist()}
        roots = self._find_roots(jobs)
        for name, job in jobs.items():
            chosen = writers.filter(pc.equal(writers.column("job"), job))
            yield from [self._written(roots[name], chosen)] if name in roots else self._remembered(chosen)

    def _written(self, root: TreeRoot, datums: pa.Table) -> pa.Table:
        """What datums wrote, from the output of the job that ran them."""
        rows = self.file_trees.find(root, pc.unique(output_keys(datums)))
        ids = datums.column(KEY).combine_chunks()
        writer = pc.index_in(rows.column("datum").combine_chunks(), value_set=pa.array(map(bytes.fromhex, ids.to_pylist()), pa.binary()))
        folders = pc.binary_join_element_wise(PFS, ids.take(writer.drop_null()), OUT, SEPARATOR)
        return _moved(rows.filter(pc.is_valid(writer)), folders)

    def _remembered(self, datums: pa.Table) -> Iterator[pa.Table]:
        """What datums of a job without output wrote, from the results of the pipeline."""
        with self.database.read() as txn:
            pipeline = find_pipeline(txn, self.pipeline)
            results = self.result_trees.decode(None if pipeline is None else find_results_root(txn, pipeline))
        for id, hash in zip(datums.column(KEY).to_pylist(), datums.column("hash").to_pylist(), strict=True):
            rows = self.result_trees.table(results, hash.hex() + SEPARATOR, hash.hex() + AFTER_SEPARATOR)
            names = pc.utf8_slice_codeunits(rows.column(KEY), len(hash.hex()) + 1)
            yield _moved(rows.drop_columns(["job"]).set_column(0, KEY, names), _key(PFS, id, OUT))

    def _find_roots(self, commits: Iterable[str]) -> dict[str, TreeRoot]:
        """The contents of those of the commits (`repo@id`) that are there."""
        new = [commit for commit in commits if commit not in self._roots]
        with self.database.read() as txn:
            trees = {commit: _find_tree(txn, parse_reference(commit)) for commit in new}
        self._roots.update({commit: None if tree is None else self.file_trees.decode(tree) for commit, tree in trees.items()})
        return {commit: root for commit in commits if (root := self._roots[commit]) is not None}


def _find_tree(txn: Transaction, at: Reference) -> bytes | None:
    repo = repos.find_repo(txn, at.repo)
    row = None if repo is None else txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo, t.commit.c.set_id == at.ref))
    return None if row is None else commits.get_commit(txn, row.id).tree


def _reads(details: DatumDetails) -> Iterator[tuple[str, DatumRead]]:
    """What a datum read; older releases did not note the names of inputs, which are those of the repos unless somebody chose others."""
    if details.reads:
        yield from zip(details.inputs, details.reads, strict=True)
        return
    for reference in details.inputs:
        at = parse_reference(reference)
        yield reference, DatumRead(at.repo.name, "", "dir" if at.path == "/" else "file", "")


def _key(*elements: str) -> str:
    return SEPARATOR.join(elements)


def _details_rows(datums: pa.Table) -> pa.Table:
    keys = pc.binary_join_element_wise(META + SEPARATOR, datums.column(KEY).combine_chunks(), SEPARATOR + DETAILS, "")
    size, hash, refs = datums.column("details").combine_chunks().flatten()
    return pa.table([keys, pa.array([b""] * len(keys), pa.binary()), size, hash, refs], schema=FILE_ROWS.schema)


def _rows(files: Sequence[tuple[str, Content]]) -> pa.Table:
    size, hash, refs = content_array([content for _, content in files]).flatten()
    return pa.table([pa.array([key for key, _ in files], pa.string()), pa.array([b""] * len(files), pa.binary()), size, hash, refs], schema=FILE_ROWS.schema)


def _moved(rows: pa.Table, folder: str | pa.StringArray) -> pa.Table:
    """File rows below another folder, or each below its own."""
    return rows.set_column(0, KEY, pc.binary_join_element_wise(folder, rows.column(KEY).combine_chunks(), SEPARATOR)).cast(FILE_ROWS.schema)


def _first_of_each(rows: pa.Table) -> pa.Table:
    """Rows in key order, each key once: a datum may have a directory and a file in it."""
    keys = rows.column(KEY).combine_chunks()
    if len(keys) < 2 or not pc.any(again := pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))).as_py():
        return rows
    return rows.filter(pa.array(np.concatenate([[True], ~again.to_numpy(zero_copy_only=False)])))
