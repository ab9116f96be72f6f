"""What differs between two versions of a path, or between two paths, as references name them."""

from dataclasses import dataclass

from pachyderm_dagster.pfs import commits, reading, references
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.differences import FileDiff, FileOp, diff_trees
from pachyderm_dagster.pfs.entries import FileInfo, file_entries, file_infos
from pachyderm_dagster.pfs.paths import clean_path
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.storage.trees import TreeRoot


@dataclass(frozen=True, slots=True)
class Side:
    """A path in a version."""

    label: str
    root: TreeRoot
    path: str


def side(pfs: Pfs, reference: str) -> Side:
    """What `REPO@REF[:PATH]` names. Errors as `Pfs.root`, and `path-invalid`."""
    return Side(reference.partition(":")[0], pfs.root(reference), clean_path(pfs.parse(reference).path or "/"))


def parent_side(pfs: Pfs, new: str) -> Side:
    """The same path in what the commit that `new` names was made upon: its parent, but for failed ones; nothing when there is none."""
    path = clean_path(pfs.parse(new).path or "/")
    with pfs.database.read() as txn:
        commit = commits.get_commit(txn, references.find_commit(txn, pfs.parse(new)))
        parent = None if commit.parent is None else references.find_commit(txn, Reference(commit.repo, commit.parent))
        readable = find_readable(txn, parent)
        if readable is None:
            return Side("nothing", pfs.trees.empty, path)
        base = commits.get_commit(txn, readable.id)
        commits.check_content(base)
    return Side(str(base), pfs.trees.decode(base.tree), path)


def differences(pfs: Pfs, old: Side, new: Side, *, shallow: bool) -> list[FileDiff]:
    """The files and directories that differ; of two different paths the files only.

    Raises:
        NotFoundError: `file-not-found`, when neither side has the path.
    """
    if old.path == new.path:
        return diff_trees(pfs.trees, old.root, new.root, new.path, label=f"{new.label} or {old.label}", shallow=shallow)
    before, after = _files(pfs, old), _files(pfs, new)
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if shallow and "/" in name:
            continue
        if one is None or other is None:
            found.append(FileDiff(FileOp.ADDED if one is None else FileOp.DELETED, other, one))
        elif one.hash != other.hash:
            found.append(FileDiff(FileOp.CHANGED, other, one))
    return found


def _files(pfs: Pfs, at: Side) -> dict[str, FileInfo]:
    """The files of a side by their path below it; one file alone has the path ''."""
    rows = reading.rows_below(pfs.trees, at.root, at.path, label=at.label)
    return {file.path.removeprefix(at.path).removeprefix("/"): file for file in file_infos(file_entries(rows))}
