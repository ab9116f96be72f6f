"""The versions that files went through."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs.differences import FileOp
from pachyderm_dagster.pfs.entries import FileInfo
from pachyderm_dagster.pfs.finding import Change, find_changes
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.reading import list_directory
from pachyderm_dagster.storage.trees import Trees


@dataclass(frozen=True, slots=True)
class Version:
    """A file or directory as a commit left it, which changed it."""

    file: FileInfo
    commit: Commit


def list_history(database: Database, trees: Trees, start: int, path: str, *, most: int | None) -> Iterator[Version]:
    """The versions of a file, or of each file and directory directly in a directory, as far as it is there at the commit to begin with: by name, the newest
    first. A directory changes with whatever is below it.

    Args:
        start: row of the commit to begin with.
        path: cleaned; it must exist there.
        most: versions of each; all unless given.
    """
    changes = (change for change in find_changes(database, trees, start, path) if change is not None)
    newer = next(changes, None)
    if newer is None:
        return
    above = _listing(trees, newer, path)
    found: dict[str, list[Version]] = {name: [] for name in above}
    # A file that was deleted meanwhile and is back has its versions before that too.
    while newer is not None and any(most is None or len(versions) < most for versions in found.values()):
        older = next(changes, None)
        below = {} if older is None else _listing(trees, older, path)
        for name, file in above.items():
            before = below.get(name)
            if name in found and (before is None or before.hash != file.hash):
                found[name].append(Version(file, newer.commit))
        newer, above = older, below
    for versions in found.values():
        yield from versions[:most]


def _listing(trees: Trees, change: Change, path: str) -> Mapping[str, FileInfo]:
    if change.op is FileOp.DELETED:
        return {}
    root = trees.decode(change.commit.tree)
    return {file.path: file for file in list_directory(trees, root, path, label=str(change.commit))}
