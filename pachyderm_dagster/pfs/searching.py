"""Finds what a glob matches in a tree, looking no deeper and no wider than the pattern says."""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.entries import ENTRIES, after_prefix, child_directories, children, directory_entries, directory_prefix, entries_of, file_entries
from pachyderm_dagster.pfs.globs import Glob, Level
from pachyderm_dagster.pfs.path_columns import directory_keys, keys_of, paths_of
from pachyderm_dagster.pfs.paths import AFTER_SEPARATOR, ROOT, SEPARATOR, directory_range, key_of
from pachyderm_dagster.storage.rows import copied
from pachyderm_dagster.storage.trees import TreeRoot, Trees

# With more directories than this of fewer files than that each, reading all rows in a row is quicker than going from directory to directory.
_DIRECTORIES = 16
_FILES_EACH = 2000
# Each step on a column takes longer to begin than to do for one leaf.
_LEAVES_AT_ONCE = 32


def search(trees: Trees, root: TreeRoot, glob: Glob) -> Iterator[pa.Table]:
    """The files and directories that match, as ENTRIES, in the order of keys (`/` sorts below every other character), those of some leaves at a time."""
    if not root.count:
        return iter(())
    if glob.levels is None:
        prefix = key_of(glob.literal_prefix)
        return scan(trees, root, prefix, after_prefix(prefix), glob)
    if not glob.levels:
        return iter([pa.Table.from_pylist([{"path": ROOT, "type": "dir", "size": root.size_bytes, "hash": trees.range_hash(root)}], schema=ENTRIES)])
    directories = [ROOT]
    for level in glob.levels[:-1]:
        if _are_small(trees, root, directories):
            break
        directories = _directories_below(trees, root, directories, level)
    if _are_small(trees, root, directories):
        start, _ = directory_range(directories[0])
        return scan(trees, root, start, key_of(directories[-1]) + AFTER_SEPARATOR, glob)
    return _matches_below(trees, root, directories, glob.levels[-1])


def scan(trees: Trees, root: TreeRoot, start: str | None, stop: str | None, glob: Glob | None) -> Iterator[pa.Table]:
    """The files with start <= key < stop, and the directories that begin in this range, that match (all without a glob), read row by row; as `search`."""
    # Directories that reach from some leaves into the next ones.
    known: list[str] = []
    leaves = trees.read(root, start, stop)
    while some := list(itertools.islice(leaves, _LEAVES_AT_ONCE)):
        keys = pa.chunked_array([leaf.column("key").chunk(0) for leaf in some]).combine_chunks()
        paths = paths_of(keys)
        directories = directory_keys(keys)
        directories = directories.filter(pc.invert(pc.is_in(directories, value_set=pa.array(known, pa.string()))))
        if start is not None:
            directories = directories.filter(pc.greater_equal(directories, start))
        files = pa.concat_tables([leaf.select(["size", "hash"]) for leaf in some]).add_column(0, "path", paths)
        if glob is not None:
            directories = directories.filter(glob.match_paths(paths_of(directories)))
            files = files.filter(glob.match_paths(paths))
        found = entries_of(files)
        if len(directories):
            # A directory that begins in some leaves sorts behind all of those before them: only what lies in it is between its key and the first in it.
            found = in_key_order(pa.concat_tables([found, *_directories_in(trees, root, sorted(directories.to_pylist()), some)]))
        yield found
        known = [key for key in (*known, *directories.to_pylist()) if keys[-1].as_py().startswith(key + SEPARATOR)]


def _directories_in(trees: Trees, root: TreeRoot, keys: Sequence[str], leaves: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """Directories that begin in some of these leaves, as ENTRIES; the keys are sorted."""
    at = 0
    for leaf in leaves:
        last = leaf.column("key")[-1].as_py()
        stop = bisect_right(keys, last, at, key=lambda key: key + SEPARATOR)
        if stop > at:
            yield directory_entries(trees, root, keys[at:stop], leaf)
        at = stop


def in_key_order(entries: pa.Table) -> pa.Table:
    """ENTRIES sorted as their keys are."""
    return entries.take(pc.sort_indices(keys_of(entries.column("path"))))


def _are_small(trees: Trees, root: TreeRoot, directories: Sequence[str]) -> bool:
    if len(directories) <= _DIRECTORIES:
        return False
    rows, _ = trees.sums(root, key_of(directories[0]), key_of(directories[-1]) + AFTER_SEPARATOR)
    return rows < len(directories) * _FILES_EACH


def _directories_below(trees: Trees, root: TreeRoot, directories: Sequence[str], level: Level) -> list[str]:
    if level.texts is None:
        return [path for directory in directories for path in child_directories(trees, root, directory, level)]
    return [path for path in _paths_in(directories, level.texts) if _exists(trees, root, path)]


def _matches_below(trees: Trees, root: TreeRoot, directories: Sequence[str], level: Level) -> Iterator[pa.Table]:
    if level.texts is None:
        return copied(table for directory in directories for table in children(trees, root, directory, level=level))
    paths = _paths_in(directories, level.texts)
    files = file_entries(trees.find(root, pa.array(map(key_of, paths), pa.string())))
    found = directory_entries(trees, root, [key_of(path) for path in paths if _exists(trees, root, path)])
    return iter([in_key_order(pa.concat_tables([files, found]))])


def _paths_in(directories: Sequence[str], names: Sequence[str]) -> list[str]:
    return [f"{directory.rstrip('/')}/{name}" for directory in directories for name in names if name]


def _exists(trees: Trees, root: TreeRoot, directory: str) -> bool:
    prefix = directory_prefix(directory)
    return (trees.seek(root, prefix) or "").startswith(prefix)
