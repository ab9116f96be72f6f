"""From planned datums to what a worker is told: every file with the place of its content."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from pachyderm_dagster.pfs.paths import directory_range, key_of, path_of
from pachyderm_dagster.pps.bundles import blocks
from pachyderm_dagster.pps.datums import DatumFile, Datums
from pachyderm_dagster.pps.planning import Sources, source_key
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.rows import KEY, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from pachyderm_dagster.worker.protocol import DatumTask, InputFile

# What is in memory at a time, unless one datum alone has more files.
_MOST_DATUMS = 512
_MOST_FILES = 1 << 14
# Whose numbers of files are in memory at a time.
_MEASURED = 1 << 16


def datum_tasks(trees: Trees, datums: Datums, rows: pa.Int64Array, sources: Sources) -> Iterator[DatumTask]:
    """A task for each of the datums in `rows`; in memory for a batch of them at a time."""
    for chosen in _cut(datums, rows):
        files = list(datums.files_of(chosen))
        places = _file_contents(trees, files, sources)
        ids = datums.table.column("id").take(chosen).to_pylist()
        for own_id, index, inputs in zip(ids, chosen.to_pylist(), files, strict=True):
            yield DatumTask(
                id=own_id,
                index=index,
                inputs=tuple(_input_file(trees, file, sources[source_key(file)].root, places) for file in inputs),
                environment={"PACH_DATUM_ID": own_id, **_file_environment(inputs, sources)},
            )


def _cut(datums: Datums, rows: pa.Int64Array) -> Iterator[pa.Int64Array]:
    """The rows, those of a batch at a time."""
    for first in range(0, len(rows), _MEASURED):
        some = rows.slice(first, _MEASURED)
        for start, end in blocks(datums.lengths(some), files=_MOST_FILES, bundles=_MOST_DATUMS):
            yield some[start:end]


def _file_environment(files: Sequence[DatumFile], sources: Sources) -> dict[str, str]:
    """What user code is told of its files beside their paths; of several of one input it is the last that speaks, as in Pachyderm."""
    told: dict[str, str] = {}
    for file in files:
        told[f"{file.input}_COMMIT"] = sources[source_key(file)].commit.id
        for name, key in (("JOIN_ON", file.join_on), ("GROUP_BY", file.group_by)):
            if key is not None:
                told[f"PACH_DATUM_{file.input}_{name}"] = key
    return told


def _file_contents(trees: Trees, files: Sequence[tuple[DatumFile, ...]], sources: Sources) -> dict[tuple[TreeRoot, str], Content]:
    """The contents of the plain files of a batch, by tree and path: one look-up a tree."""
    wanted: dict[TreeRoot, set[str]] = {}
    for inputs in files:
        for file in inputs:
            if file.type == "file":
                wanted.setdefault(sources[source_key(file)].root, set()).add(key_of(file.path))
    found: dict[tuple[TreeRoot, str], Content] = {}
    for root, keys in wanted.items():
        table = trees.find(root, pa.array(sorted(keys), pa.string()))
        for key, content in zip(table.column(KEY).to_pylist(), contents_of(table), strict=True):
            found[root, path_of(key)] = content
    return found


def _input_file(trees: Trees, file: DatumFile, root: TreeRoot, places: Mapping[tuple[TreeRoot, str], Content]) -> InputFile:
    # A file without its content needs no pipe to save fetching it.
    how = {"lazy": file.lazy and not file.empty_files, "empty": file.empty_files}
    if file.type == "file":
        return InputFile(name=file.input, path=file.path, is_dir=False, files=((file.path, places[root, file.path]),), **how)
    below = trees.table(root, *directory_range(file.path))
    paths = [path_of(key) for key in below.column(KEY).to_pylist()]
    return InputFile(name=file.input, path=file.path, is_dir=True, files=tuple(zip(paths, contents_of(below), strict=True)), **how)
