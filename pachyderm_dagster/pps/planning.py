"""What a job has to do, from what it reads: its input trees, its datums, which of them run and what an earlier job left for the others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.pfs.entries import ENTRIES
from pachyderm_dagster.pfs.model import Commit, Origin
from pachyderm_dagster.pfs.reading import glob_in_parts
from pachyderm_dagster.pps.assembly import JobTrees
from pachyderm_dagster.pps.changed_datums import ConsideredDatums, changed_datums
from pachyderm_dagster.pps.datums import DatumFile, Datums, datum_table
from pachyderm_dagster.pps.directory_hashes import hash_by_files
from pachyderm_dagster.pps.inputs import Leaf, leaf_key, leaves
from pachyderm_dagster.pps.job_inputs import Base
from pachyderm_dagster.pps.plan import Plan, plan
from pachyderm_dagster.pps.results import DatumRead, find_results
from pachyderm_dagster.pps.spec import PipelineSpec, Reprocess
from pachyderm_dagster.storage.objects import is_damage
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, KEY, copied
from pachyderm_dagster.storage.scratch import Scratch
from pachyderm_dagster.storage.tree_reading import decode_root
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_COMPARED = pa.schema([DATUM_ROWS.schema.field(name) for name in (KEY, "hash", "state")])


@dataclass(frozen=True, slots=True)
class Source:
    """The commit that an input reads, and its content."""

    commit: Commit
    root: TreeRoot

    @property
    def is_output(self) -> bool:
        """Whether its files say which datums wrote them, as those of a pipeline do."""
        return self.commit.origin is Origin.AUTO


Sources = Mapping[tuple[str, str | None, str, str], Source]
"""By input name, project (None: the pipeline's), repo and branch: members of a union may share a name."""


def source_key(read: Leaf | DatumFile) -> tuple[str, str | None, str, str]:
    """Where an input, or a file of a datum, is found in `Sources`."""
    name = read.input if isinstance(read, DatumFile) else read.name
    return name, read.project, read.repo, read.branch


def make_sources(read: Iterable[tuple[Leaf, Commit]]) -> Sources:
    """What inputs read, from the commit of each."""
    return {source_key(leaf): Source(commit, decode_root(FILE_ROWS, commit.tree)) for leaf, commit in read}


def decode_base(base: Base) -> JobTrees:
    """The trees that a job builds on."""
    return JobTrees(decode_root(FILE_ROWS, base.output), decode_root(DATUM_ROWS, base.meta))


def find_datums(trees: Trees, spec: PipelineSpec, sources: Sources, salt: str, scratch: Path) -> Datums:
    """The datums of what a pipeline reads; `salt` is that of its version. An input that is not in `sources` has no files.

    What is large is in files in the folder `scratch`, while the datums are used. Errors as `datum_table` and `glob_files`.

    Raises:
        InvalidError: `no-input`, of a spout.
    """
    if spec.input is None:
        raise InvalidError("no-input", f"pipeline '{spec.pipeline.name}' is a spout: without an input it has no datums")
    kept = Scratch(scratch)
    files = {leaf_key(leaf): _matches(trees, leaf, sources, kept) for leaf in leaves(spec.input)}
    return datum_table(spec.input, files, spec.datum_salt(salt), kept)


def _matches(trees: Trees, leaf: Leaf, sources: Sources, scratch: Scratch) -> pa.Table:
    """What an input's glob matches, as ENTRIES."""
    found = sources.get(source_key(leaf))
    root = decode_root(FILE_ROWS, None) if found is None else found.root
    entries = glob_in_parts(trees, root, leaf.glob)
    if found is not None and found.is_output:
        entries = (hash_by_files(trees, root, some) for some in entries)
    return scratch.keep(ENTRIES, entries)


def consider_datums(trees: Trees, meta_trees: Trees, spec: PipelineSpec, sources: Sources, salt: str, base: Base, scratch: Path) -> ConsideredDatums:
    """The datums that a job has to look at, as few as can be. As `find_datums`."""
    meta = decode_root(DATUM_ROWS, base.meta)
    if base.input is not None and spec.reprocess_spec is not Reprocess.EVERY_JOB:
        (source,) = sources.values()
        before = decode_root(FILE_ROWS, base.input.tree)
        try:
            found = changed_datums(trees, meta_trees, spec.input, spec.datum_salt(salt), before, source.root, meta, by_files=source.is_output)
        except PachydermError as error:
            # What is damaged may be of the older content only, which nobody asked for.
            if not is_damage(error):
                raise
            found = None
        if found is not None:
            return found
    datums = find_datums(trees, spec, sources, salt, scratch)
    return ConsideredDatums(datums, base_rows(meta_trees, meta, datums.scratch), len(datums))


def base_rows(meta_trees: Trees, meta: TreeRoot, scratch: Scratch) -> pa.Table:
    """What is compared of all rows of a meta tree, as `plan` takes it."""
    return scratch.keep(_COMPARED, copied(leaf.select(_COMPARED.names) for leaf in meta_trees.read(meta)))


def find_plan(result_trees: Trees, datums: Datums, base_rows: pa.Table, results: TreeRoot, *, every_job: bool) -> Plan:
    """Which datums run, and which have a result: of the job whose meta tree has `base_rows`, or among the pipeline's `results`."""
    chosen = plan(datums, base_rows, every_job=every_job)
    if results.count:
        chosen = chosen.restore(find_results(result_trees, results, chosen.hashes(chosen.run)))
    datums.scratch.let_go()
    return chosen


@dataclass(frozen=True, slots=True)
class DatumInputs:
    """What a datum reads: `repo@id:/path` of each file or directory, and more about each."""

    references: tuple[str, ...]
    reads: tuple[DatumRead, ...]


def inputs_of(files: Iterable[DatumFile], sources: Sources) -> DatumInputs:
    """What a datum of these files reads."""
    found = tuple(files)
    return DatumInputs(
        tuple(f"{sources[source_key(file)].commit}:{file.path}" for file in found),
        tuple(DatumRead(file.input, file.branch, file.type, file.hash.hex()) for file in found),
    )


def described(datums: Datums, rows: Sequence[int], sources: Sources) -> Iterator[tuple[bytes, DatumInputs]]:
    """The hash of each of some datums, and what it reads."""
    hashes = datums.table.column("hash").take(pa.array(rows, pa.int64())).to_pylist()
    return zip(hashes, (inputs_of(files, sources) for files in datums.files_of(rows)), strict=True)
