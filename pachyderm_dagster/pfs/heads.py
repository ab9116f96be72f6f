"""The heads of branches: which branches have one, and what of it can be read."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName, RepoType
from pachyderm_dagster.pfs.references import branch_row


@dataclass(frozen=True, slots=True)
class HeadedBranch:
    """A branch that has a head.

    Attributes:
        description: of its repo.
        metadata: of the branch.
    """

    name: BranchName
    description: str
    metadata: Mapping[str, str]


def list_headed(txn: Transaction) -> list[HeadedBranch]:
    """The branches of all user repos that have a head, by name."""
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.repo.c.name.label("repo"), t.repo.c.description, t.branch.c.name.label("branch"), t.branch.c.metadata)
        .join_from(t.branch, t.repo)
        .join(t.project)
        .where(t.repo.c.type == RepoType.USER, t.branch.c.head_id.is_not(None))
        .order_by(t.project.c.name, t.repo.c.name, t.branch.c.name)
    )
    return [HeadedBranch(BranchName(RepoName(row.project, row.repo), row.branch), row.description, row.metadata) for row in rows]


def find_readable_head(txn: Transaction, branch: BranchName) -> Commit | None:
    """The newest commit of a branch that is finished without an error; None of one without, and of a branch that is not there."""
    try:
        readable = find_readable(txn, branch_row(txn, branch).head_id)
    except NotFoundError:
        return None
    return None if readable is None else commits.get_commit(txn, readable.id)
