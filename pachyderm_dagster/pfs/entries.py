"""Files and directories as a tree implies them: a directory is there while something is below it, with the sum of its sizes and a hash of its rows."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.globs import Level
from pachyderm_dagster.pfs.path_columns import paths_of
from pachyderm_dagster.pfs.paths import AFTER_SEPARATOR, ROOT, SEPARATOR, directory_range, key_of, path_of
from pachyderm_dagster.storage.nodes import leaf_ids
from pachyderm_dagster.storage.rows import HASH_TYPE
from pachyderm_dagster.storage.tree_reading import first_not_below
from pachyderm_dagster.storage.trees import FILE_ROWS, TreeRoot, Trees

FILE = "file"
DIRECTORY = "dir"
# Up to so many directories in a leaf are found one by one more quickly than by going through its rows.
_FEW = 4
ENTRIES = pa.schema([("path", pa.string()), ("type", pa.string()), ("size", pa.int64()), ("hash", HASH_TYPE)])


class FileInfo(msgspec.Struct, frozen=True):
    """A file or a directory.

    Args:
        type: `file` or `dir`.
        size_bytes: of a directory the sum of everything below it.
        hash: 64 hex digits; equal for equal files, and for directories of one path with equal files below that were written by the same datums.
    """

    path: str
    type: str
    size_bytes: int
    hash: str


def file_infos(entries: pa.Table) -> list[FileInfo]:
    """Rows of ENTRIES one by one."""
    return [
        FileInfo(path, kind, size, hash_.hex()) for path, kind, size, hash_ in zip(*(entries.column(name).to_pylist() for name in ENTRIES.names), strict=True)
    ]


def file_entries(rows: pa.Table) -> pa.Table:
    """File rows of a tree as ENTRIES."""
    return entries_of(rows.select(["size", "hash"]).add_column(0, "path", paths_of(rows.column("key"))))


def entries_of(files: pa.Table) -> pa.Table:
    """Files by path, size and hash as ENTRIES."""
    return files.add_column(1, "type", pa.repeat(FILE, len(files))).cast(ENTRIES)


def find_entry(trees: Trees, root: TreeRoot, path: str) -> FileInfo | None:
    """The file or directory of a cleaned path; the root directory is always there."""
    if path != ROOT:
        rows = trees.find(root, pa.array([key_of(path)]))
        if len(rows):
            return file_infos(file_entries(rows))[0]
    return find_directory(trees, root, path)


def find_directory(trees: Trees, root: TreeRoot, path: str) -> FileInfo | None:
    """The directory of a cleaned path; the root directory is always there."""
    below = trees.summary(root, *directory_range(path))
    return FileInfo(path, DIRECTORY, below.size_bytes, below.id.hex()) if below.count or path == ROOT else None


def directory_entries(trees: Trees, root: TreeRoot, keys: Sequence[str], leaf: pa.Table | None = None) -> pa.Table:
    """Directories, by their keys, as ENTRIES.

    Args:
        leaf: rows of one leaf in which all these directories begin; those that end in it too cost no search.
    """
    leaf_keys = [] if leaf is None else leaf.column("key").to_pylist()
    bounds = {key: (bisect_left(leaf_keys, key + SEPARATOR), bisect_left(leaf_keys, key + AFTER_SEPARATOR)) for key in keys}
    # Where a directory ends before the leaf does, its rows are there.
    inside = {key: (first, end) for key, (first, end) in bounds.items() if end < len(leaf_keys)}
    found = {} if leaf is None else dict(zip(inside, _parts_of(leaf, list(inside.values())), strict=True))
    for key in keys:
        if key not in found:
            below = trees.summary(root, key + SEPARATOR, key + AFTER_SEPARATOR)
            found[key] = below.size_bytes, below.id
    sizes, hashes = zip(*(found[key] for key in keys), strict=True) if keys else ((), ())
    paths = pa.array(map(path_of, keys), pa.string())
    return pa.Table.from_arrays([paths, pa.repeat(DIRECTORY, len(keys)), pa.array(sizes, pa.int64()), pa.array(hashes, HASH_TYPE)], schema=ENTRIES)


def _parts_of(leaf: pa.Table, bounds: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """The size and the range hash (that of a tree of one leaf) of parts of a leaf's rows."""
    (rows,) = leaf.select(FILE_ROWS.logical).combine_chunks().to_batches()
    ends = np.concatenate([[0], np.cumsum(rows.column("size").to_numpy())])
    sizes = [int(ends[end] - ends[first]) for first, end in bounds]
    return zip(sizes, leaf_ids(FILE_ROWS, rows, bounds), strict=True)


def children(
    trees: Trees, root: TreeRoot, directory: str, *, level: Level | None = None, start: str | None = None, stop: str | None = None
) -> Iterator[pa.Table]:
    """What is directly in a directory, in the order of names, as ENTRIES, some at a time.

    Costs one leaf for each child directory and what the files directly in it take; what is deeper is skipped.

    Args:
        level: what the names must match.
        start, stop: bounds for the keys.
    """
    for names, is_directory, leaf, firsts in _child_runs(trees, root, directory, level, start, stop):
        if not pc.any(is_directory).as_py():
            yield file_entries(leaf if len(firsts) == len(leaf) else leaf.take(firsts))
            continue
        prefix = directory_prefix(directory)
        files = file_entries(leaf.take(firsts.filter(pc.invert(is_directory))))
        found = directory_entries(trees, root, pc.binary_join_element_wise(prefix, names.filter(is_directory), "").to_pylist(), leaf)
        yield pa.concat_tables([files, found]).sort_by("path")


def child_directories(trees: Trees, root: TreeRoot, directory: str, level: Level) -> list[str]:
    """The paths of the directories directly in a directory whose names match."""
    return [
        path_of(directory_prefix(directory) + name)
        for names, is_directory, _, _ in _child_runs(trees, root, directory, level, None, None)
        for name in names.filter(is_directory).to_pylist()
    ]


def directory_prefix(directory: str) -> str:
    """What the keys of everything below a directory begin with."""
    return "" if directory == ROOT else key_of(directory) + SEPARATOR


def after_prefix(text: str) -> str | None:
    """The smallest string above all that begin with `text`; None when there is none."""
    while text and text[-1] == "\U0010ffff":
        text = text[:-1]
    if not text:
        return None
    following = ord(text[-1]) + 1
    # The code points of surrogates are no characters.
    return text[:-1] + chr(0xE000 if following == 0xD800 else following)


_Run = tuple[pa.StringArray, pa.BooleanArray, pa.Table, pa.UInt64Array]


def _child_runs(trees: Trees, root: TreeRoot, directory: str, level: Level | None, start: str | None, stop: str | None) -> Iterator[_Run]:
    """For one leaf after the other: the names of matching children, which are directories, the leaf, and where in it each child begins."""
    prefix = directory_prefix(directory)
    wanted = prefix + (level.prefix if level is not None else "")
    cursor: str | None = max(wanted, start or "")
    end = min((bound for bound in (after_prefix(wanted), stop) if bound is not None), default=None)
    while cursor is not None:
        position, cursor = cursor, None
        for leaf in trees.read(root, position, end):
            names, is_directory, firsts = _split_names(leaf, prefix)
            # The last child of a leaf may be large; the next one is searched for instead of read to.
            if is_directory[-1].as_py():
                cursor = prefix + names[-1].as_py() + AFTER_SEPARATOR
            if level is not None:
                matched = level.match(names)
                names, is_directory, firsts = (column.filter(matched) for column in (names, is_directory, firsts))
            if len(names):
                yield names, is_directory, leaf, firsts
            if cursor is not None:
                break


def _split_names(leaf: pa.Table, prefix: str) -> tuple[pa.StringArray, pa.BooleanArray, pa.UInt64Array]:
    """The children that the rows of a leaf are or lie in: names, whether each is a directory, and its first row."""
    keys = leaf.column("key").combine_chunks()
    found = _few_directories(keys, prefix)
    if found is not None:
        return found
    rest = pc.utf8_slice_codeunits(keys, len(prefix))
    deeper = pc.match_substring(rest, SEPARATOR)
    if not pc.any(deeper).as_py():
        return rest, deeper, pc.indices_nonzero(pa.repeat(True, len(rest)))
    names = pc.list_element(pc.split_pattern(rest, SEPARATOR, max_splits=1), 0)
    begins = pc.not_equal(names.slice(1), names.slice(0, len(names) - 1))
    firsts = pc.indices_nonzero(pa.concat_arrays([pa.array([True]), begins]))
    return names.take(firsts), deeper.take(firsts), firsts


def _few_directories(keys: pa.StringArray, prefix: str) -> tuple[pa.StringArray, pa.BooleanArray, pa.UInt64Array] | None:
    """What `_split_names` gives of a leaf that holds a few directories and no file, as those of large directories do; None of others."""
    names: list[str] = []
    firsts: list[int] = []
    at = 0
    while at < len(keys):
        name, separator, _ = keys[at].as_py()[len(prefix) :].partition(SEPARATOR)
        if not separator or len(names) == _FEW:
            return None
        names.append(name)
        firsts.append(at)
        at = first_not_below(keys, prefix + name + AFTER_SEPARATOR, at)
    return pa.array(names, pa.string()), pa.repeat(True, len(names)), pa.array(firsts, pa.uint64())
