"""What Dagster shows of a commit, whoever made it: its numbers, what it changed, its files, tables and pictures."""

from collections.abc import Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import PachydermError, StateError
from pachyderm_dagster.integration.commit_events import commit_metadata
from pachyderm_dagster.integration.shown_changes import Changes
from pachyderm_dagster.integration.shown_files import Metadata, ShownFiles, picture_metadata
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.storage.trees import TreeRoot
from pachyderm_dagster.workspace import Workspace


def shown_commit(workspace: Workspace, commit: Commit, folders: Sequence[str] = (ROOT,), *, partitioned: bool = False) -> Metadata:
    """All metadata of a finished commit, at a bounded cost.

    Args:
        folders: the directories whose files, tables and pictures are shown.
        partitioned: these are partitions.
    """
    known = commit_metadata(commit)
    if commit.tree is None:
        return known
    try:
        return {**known, **_content(workspace, commit, folders, partitioned=partitioned)}
    except PachydermError as error:
        # The commit is finished; a store that cannot be read now is no reason to call that a failure.
        return {**known, labels.UNREADABLE: dg.MetadataValue.text(str(error))}


def _content(workspace: Workspace, commit: Commit, folders: Sequence[str], *, partitioned: bool) -> Metadata:
    trees, reader = workspace.pfs.trees, workspace.pfs.reader
    root = trees.decode(commit.tree)
    changes = Changes.between(trees, _parent_root(workspace, commit), root)
    files = ShownFiles.of(trees, root, folders)
    return {
        labels.CHANGES: changes.describe(commit, files),
        **picture_metadata(trees, reader, root, changes.changed_rows),
        labels.FILES: dg.MetadataValue.int(files.count),
        labels.BYTES: dg.MetadataValue.int(files.size_bytes),
        **changes.metadata(),
        **({labels.LISTING: files.listing()} if files.count else {}),
        **files.tables(reader, partitioned=partitioned),
    }


def _parent_root(workspace: Workspace, commit: Commit) -> TreeRoot | None:
    """What the commit was put upon; None when that has been forgotten."""
    with workspace.database.read() as txn:
        try:
            return workspace.pfs.trees.decode(commits.base_tree(txn, commit.key))
        except StateError:
            return None
