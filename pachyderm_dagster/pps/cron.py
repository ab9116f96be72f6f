"""Ticks of a pipeline's inputs: what the file of a tick is called, and the branches that a schedule moves."""

import datetime as dt

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName
from pachyderm_dagster.pfs.triggers import tick_now
from pachyderm_dagster.pps.model import Pipeline


def tick_name(tick: dt.datetime) -> str:
    """The name of the tick's file: RFC 3339 in UTC, as `2026-01-01T00:00:00Z`."""
    return tick.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def tick_triggers(txn: Transaction, pipeline: Pipeline) -> list[Commit]:
    """Moves the branches that a pipeline reads and that a schedule moves, whether their time has come or not; the commits that they point at now."""
    moved = []
    for project, repo, name in dict.fromkeys(pipeline.spec.upstream_branches(pipeline.name.project)):
        branch = BranchName(RepoName(project, repo), name)
        try:
            row = references.branch_row(txn, branch)
        except NotFoundError:
            # Deleted by force; the next job says so.
            continue
        head = references.branch_row(txn, branch).head_id if tick_now(txn, row.id) else None
        if head is not None:
            moved.append(commits.get_commit(txn, head))
    return moved
