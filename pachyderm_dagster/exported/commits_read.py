"""Which commits a step of another system reads: those that it is given, by id, or what branches hold now."""

from collections.abc import Mapping

from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.heads import find_readable_head
from pachyderm_dagster.pfs.made_commits import MadeFrom
from pachyderm_dagster.pfs.model import BranchName, Commit, is_commit_id
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.workspace import Workspace


def find_commits(workspace: Workspace, asked: Mapping[BranchName, str], *, pinned: bool) -> dict[BranchName, Commit]:
    """The commit of each branch: the one whose id is given, or for an empty one the newest that is finished without an error.

    Args:
        pinned: an id has to be given, because the result may be kept for the next time.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found`, `commit-not-found`.
        InvalidError: `commit-missing`, `pin-invalid`; StateError: `commit-open`, `commit-forgotten`.
    """
    return {branch: _find_commit(workspace, branch, id.strip(), pinned=pinned) for branch, id in asked.items()}


def made_from(found: Mapping[BranchName, Commit]) -> tuple[MadeFrom, ...]:
    """The same as provenance of what is made of it."""
    return tuple(MadeFrom(branch, commit.id) for branch, commit in found.items())


def _find_commit(workspace: Workspace, branch: BranchName, id: str, *, pinned: bool) -> Commit:
    if pinned and not is_commit_id(id):
        problem = f"{id!r} is the id of no commit" if id else "no commit is given"
        raise InvalidError(
            "commit-missing",
            f"{problem} for '{branch}', and Kubeflow may take the result from its cache; give an id, as pfs_head does; "
            "a pipeline exported with --head reads what is there",
        )
    with workspace.database.read() as txn:
        if not id:
            head = find_readable_head(txn, branch)
            if head is None:
                raise NotFoundError("commit-not-found", f"branch '{branch}' has no finished commit; put files into it first")
            return head
        found = commits.get_commit(txn, references.find_commit(txn, Reference(branch.repo, id)))
    if found.finished is None:
        raise StateError("commit-open", f"commit '{found}' is still being written; wait for it, or give another one")
    if found.error is not None:
        raise InvalidError("pin-invalid", f"commit '{found}' has an error, and cannot be read: {found.error}; give another one")
    commits.check_content(found)
    return found
