"""Which commits changed a path."""

from collections.abc import Iterator
from dataclasses import dataclass

from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.differences import FileOp
from pachyderm_dagster.pfs.entries import find_entry
from pachyderm_dagster.pfs.file_trees import check_keeps_files
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.storage.trees import Trees

PAGE = 200


@dataclass(frozen=True, slots=True)
class Change:
    """A commit that changed a path, and how."""

    commit: Commit
    op: FileOp


def find_changes(database: Database, trees: Trees, start: int, path: str) -> Iterator[Change | None]:
    """Walks from a commit towards the root; each commit that added, changed or deleted the file or directory, newest first, and None for any other.

    A commit with an error is compared with what it was made upon, and no other with it. Commits that are open or whose content was forgotten are passed
    over: what they changed shows at the next one.

    Args:
        start: row of the commit to begin with.
        path: cleaned.

    Raises:
        InvalidError: `meta-repo`.
    """
    # Those that are made upon the next readable one.
    above: list[tuple[Commit, str | None]] = []
    for commit in _history(database, start):
        check_keeps_files(commit.repo)
        found = find_entry(trees, trees.decode(commit.tree), path)
        hash = None if found is None else found.hash
        if commit.error is None:
            yield from (_change(one, hash, own) for one, own in above)
            above = []
        above.append((commit, hash))
    yield from (_change(one, None, own) for one, own in above)


def _history(database: Database, start: int) -> Iterator[Commit]:
    above: int | None = start
    while above is not None:
        with database.read() as txn:
            page = commits.list_commit(txn, up_to=above, number=PAGE)
            above = commits.find_parent(txn, page[-1].key)
        # A failed job's commit has no content to compare.
        yield from (commit for commit in page if commit.finished is not None and (commit.error is None or commit.tree is not None) and not commit.forgotten)


def _change(commit: Commit, old: str | None, new: str | None) -> Change | None:
    match old, new:
        case None, None:
            return None
        case None, _:
            return Change(commit, FileOp.ADDED)
        case _, None:
            return Change(commit, FileOp.DELETED)
    return None if old == new else Change(commit, FileOp.CHANGED)
