"""Commits what user code wrote for each datum in the pods of a run: the same tree that a job of ours would have made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.errors import ExecutionError, InvalidError
from pachyderm_dagster.pfs.conflicts import find_conflict
from pachyderm_dagster.pfs.local_sources import files_in
from pachyderm_dagster.pfs.made_commits import MadeFrom, Making, make_commit
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin
from pachyderm_dagster.pfs.paths import clean_file_path, key_of, path_of
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.workspace import Workspace

_SHARE = "share-"


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a datum wrote: where it lies, the key that it has in a tree, and the id of the datum in hex; empty when no datum is known."""

    location: str
    key: str
    datum: str


def collect_outputs(folders: Sequence[Path], *, datums: int, shares: int) -> list[Output]:
    """The files in the output artifacts of a run, all of whose datums have to have ended.

    Raises:
        ExecutionError: `datums-missing`.
    """
    ended = [file.name for folder in folders for file in _entries(folder / "ended")]
    finished = {name for name in ended if name.startswith(_SHARE)}
    found = {name for name in ended if not name.startswith(_SHARE)}
    if len(finished) != shares or len(found) != datums:
        raise ExecutionError(
            "datums-missing",
            f"{len(found)} of {datums} datums have ended, in {len(finished)} of {shares} pods, so nothing is committed; look at the logs of the task before",
        )
    return [output for folder in folders for one in _entries(folder / "files") for output in _outputs_of(one, one.name)]


def collect_folder(folder: Path) -> list[Output]:
    """The files in a folder that somebody filled; none where there is no folder."""
    return _outputs_of(folder, "") if folder.is_dir() else []


def collect_artifact(path: Path) -> list[Output]:
    """The files of an artifact: those in its folder, or the file that it is, under its name.

    Raises:
        InvalidError: `source-invalid`, where nothing is.
    """
    if path.is_file():
        return [Output(str(path), key_of(clean_file_path(f"/{path.name}")), "")]
    if not path.is_dir():
        raise InvalidError("source-invalid", f"there is nothing at {path}; the task that makes the artifact has to write to its path")
    return collect_folder(path)


def commit_outputs(
    workspace: Workspace, branch: BranchName, outputs: Sequence[Output], made_from: Sequence[MadeFrom], *, origin: Origin, description: str
) -> Commit:
    """The commit of these files, which are all that the branch then holds; the head of the branch when that is it already. Errors as `make_commit`.

    Raises:
        InvalidError: `output-conflict`, when two datums write one path, or one writes a file where another writes a directory.
    """
    since = workspace.database.clock.now()
    stored: list[int] = []
    contents = ingest_files(workspace.store, [output.location for output in outputs], stored.append)
    keys, datums = [output.key for output in outputs], [bytes.fromhex(output.datum) for output in outputs]
    rows = pa.table([pa.array(keys, pa.string()), pa.array(datums, pa.binary()), *contents.columns], schema=FILE_ROWS.schema)
    trees = workspace.pfs.trees
    conflict = find_conflict(trees, trees.empty, rows, pa.array([], pa.string()))
    if conflict is not None:
        raise InvalidError("output-conflict", f"two datums write {path_of(conflict.key)} and {path_of(conflict.other_key)}; let each write a path of its own")
    making = Making(trees.build(rows), tuple(made_from), origin, since, description, stored_bytes=sum(stored))
    return make_commit(workspace.database, workspace.store, branch, making)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; an object store keeps none that is empty."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _outputs_of(folder: Path, datum: str) -> list[Output]:
    return [Output(location, key_of(clean_file_path(f"/{name}")), datum) for location, name in files_in(str(folder))]
