"""Files of commits for components that people write themselves: what a commit holds, and what changed between two."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.pfs.comparing import Side, parent_side
from pachyderm_dagster.pfs.differences import FileDiff, FileOp, diff_trees
from pachyderm_dagster.pfs.entries import FileInfo
from pachyderm_dagster.pfs.file_trees import StoredFiles
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.path_columns import paths_of
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.workspace import Workspace

CHANGES_FILE = "changes.json"
FILES = "files"


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two commits: how many files."""

    added: int
    changed: int
    deleted: int

    @property
    def any(self) -> bool:
        """Whether there is a difference."""
        return bool(self.added or self.changed or self.deleted)


def get_files(workspace: Workspace, commit: Commit, path: str, folder: Path) -> int:
    """Writes a file, a directory or what a pattern matches into a folder, under their paths in the repo; how many files.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`, `glob-invalid`.
    """
    trees = workspace.pfs.trees
    rows = StoredFiles(trees, trees.decode(commit.tree), str(commit)).rows_below(path)
    _export(workspace, rows, folder)
    return len(rows)


def get_changes(workspace: Workspace, new: Commit, old: Commit | None, path: str, folder: Path) -> Changes:
    """Writes what a commit has that another, by default the one that it changed, has not or has otherwise: the files below `files`, and a list of all changes.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`.
    """
    pfs = workspace.pfs
    before = parent_side(pfs, f"{new.repo}@{new.id}") if old is None else Side(str(old), pfs.trees.decode(old.tree), path)
    after = pfs.trees.decode(new.tree)
    found = [one for one in diff_trees(pfs.trees, before.root, after, path, label=f"{new} or {before.label}") if _of(one).type == "file"]
    written = pa.array([key_of(_of(one).path) for one in found if one.new is not None], pa.string())
    _export(workspace, pfs.trees.find(after, written), folder / FILES)
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"op": one.op.value, "path": _of(one).path, "size_bytes": _of(one).size_bytes} for one in found]
    (folder / CHANGES_FILE).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return Changes(*(sum(one.op is op for one in found) for op in (FileOp.ADDED, FileOp.CHANGED, FileOp.DELETED)))


def _of(one: FileDiff) -> FileInfo:
    found = one.new or one.old
    assert found is not None
    return found


def _export(workspace: Workspace, rows: pa.Table, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    export_files(workspace.store, rows, [f"{folder}{path}" for path in paths_of(rows.column("key")).to_pylist()])
