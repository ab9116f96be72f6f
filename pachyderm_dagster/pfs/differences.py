"""What changed between two trees: files, and the directories above them."""

import enum

import msgspec
import pyarrow as pa

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.entries import FileInfo, directory_prefix, file_entries, file_infos, find_directory, find_entry
from pachyderm_dagster.pfs.path_columns import directory_keys
from pachyderm_dagster.pfs.paths import ROOT, SEPARATOR, clean_path, key_of, path_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees


class FileOp(enum.StrEnum):
    """How a file or directory differs."""

    ADDED = "added"  # the new tree has it, the old one not
    DELETED = "deleted"  # the old tree has it, the new one not
    CHANGED = "changed"  # both have it, with other content


class FileDiff(msgspec.Struct, frozen=True):
    """One difference; `new` is None for what was deleted, `old` for what was added."""

    op: FileOp
    new: FileInfo | None
    old: FileInfo | None


def diff_trees(trees: Trees, old: TreeRoot, new: TreeRoot, path: str = ROOT, *, label: str, shallow: bool = False) -> list[FileDiff]:
    """The files and directories at or below `path` that differ, in key order. Costs what differs.

    A file with the same bytes does not differ, and neither does a directory without a difference below it.

    Args:
        shallow: leave out what is deeper than the children of `path`.
        label: names the commits in messages.

    Raises:
        NotFoundError: `file-not-found`, when neither tree has `path`.
        InvalidError: `path-invalid`.
    """
    top = clean_path(path)
    if find_entry(trees, old, top) is None and find_entry(trees, new, top) is None:
        raise NotFoundError("file-not-found", f"file {top!r} does not exist in {label}; name a path that one side has")
    rows = trees.diff(old, new)
    before, after = _infos(rows.old_rows), _infos(rows.new_rows)
    prefix = directory_prefix(top)
    files = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key) and (key.startswith(prefix) or key == key_of(top))}
    below = directory_keys(pa.array([key for key in files if key.startswith(prefix)], pa.string()))
    directories = {key for key in below.to_pylist() if key.startswith(prefix)} | ({key_of(top)} if len(files - {key_of(top)}) else set())
    keys = files | directories
    if shallow:
        keys = {key for key in keys if SEPARATOR not in key.removeprefix(prefix)}
    differences = []
    for key in sorted(keys):
        if key in directories:
            # On one side it may be a file; then that file is among the rows that differ.
            sides = before.get(key) or find_directory(trees, old, path_of(key)), after.get(key) or find_directory(trees, new, path_of(key))
        else:
            sides = before.get(key), after.get(key)
        differences.append(_difference(*sides))
    return differences


def _infos(rows: pa.Table) -> dict[str, FileInfo]:
    return dict(zip(rows.column("key").to_pylist(), file_infos(file_entries(rows)), strict=True))


def _difference(old: FileInfo | None, new: FileInfo | None) -> FileDiff:
    if old is None:
        return FileDiff(FileOp.ADDED, new, old)
    return FileDiff(FileOp.DELETED if new is None else FileOp.CHANGED, new, old)
