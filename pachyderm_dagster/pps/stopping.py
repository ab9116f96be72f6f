"""Stopping a pipeline: when that is asked for, and when its output branch is taken away."""

from collections.abc import Collection

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, BranchName, RepoName, RepoType
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import PipelineState


def pause(txn: Transaction, name: RepoName, *, reason: str) -> None:
    """Stops a pipeline whose output branch was cut off: its meta branch is too, and unfinished jobs are killed, for `reason`."""
    project_id = sa.select(t.project.c.id).where(t.project.c.name == name.project).scalar_subquery()
    stopped = sa.update(t.pipeline).where(t.pipeline.c.project_id == project_id, t.pipeline.c.name == name.name)
    txn.run(stopped.values(state=PipelineState.PAUSED))
    cut_off(txn, meta_branch(name))
    jobs.stop_all(txn, name, reason=reason)


def pause_taken(txn: Transaction) -> None:
    """Stops the pipelines whose output branches were given other provenance; run before propagation, which would go on with their meta branches."""
    for row in txn.all(sa.select(t.repo.c.id).where(t.repo.c.id.in_(txn.taken_outputs)).order_by(t.repo.c.id)) if txn.taken_outputs else ():
        name = repos.repo_name(txn, row.id)
        pause(txn, name, reason=f"the output branch of pipeline '{name}' was taken from it")


def cut_off(txn: Transaction, name: BranchName) -> None:
    """Takes the provenance of a branch away, if there is the branch."""
    row = txn.first(sa.select(t.branch.c.id).where(t.branch.c.repo_id == repos.find_repo(txn, name.repo), t.branch.c.name == name.name))
    if row is not None:
        branches.set_upstream(txn, row.id, ())


def fall_back(txn: Transaction, name: BranchName, killed: Collection[int]) -> None:
    """Moves a branch whose head is one of these commits, of jobs that were killed, to the last good one, if there is any.

    For data that outlives its pipeline: no job will ever put a good head there. What reads the branch is not run for it: it has been for that commit.
    """
    row = txn.first(sa.select(t.branch.c.id, t.branch.c.head_id).where(t.branch.c.repo_id == repos.find_repo(txn, name.repo), t.branch.c.name == name.name))
    good = None if row is None or row.head_id not in killed else find_readable(txn, row.head_id)
    if row is not None and good is not None:
        txn.run(sa.update(t.branch).where(t.branch.c.id == row.id).values(head_id=good.id))


def meta_branch(name: RepoName) -> BranchName:
    """The branch of a pipeline's meta repo."""
    return BranchName(RepoName(name.project, name.name, RepoType.META), DEFAULT_BRANCH)
