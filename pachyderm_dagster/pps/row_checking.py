"""Checking the record with its jobs: what must hold between commits and the jobs that write them, and what the store must hold of both."""

from collections.abc import Iterator

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.checking import Change, Problem, Upkeep, check_record, check_references
from pachyderm_dagster.pfs.model import Origin, RepoType
from pachyderm_dagster.pfs.root_checking import check_roots
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import TERMINAL, UNFINISHED, JobState


def check_rows(txn: Transaction) -> Iterator[Problem]:
    """The problems of the record, jobs included; only the dangling rows where there are any."""
    dangling = list(check_references(txn))
    yield from dangling or _check_whole_rows(txn)


def _check_whole_rows(txn: Transaction) -> Iterator[Problem]:
    yield from check_record(txn)
    yield from check_roots(txn)
    yield from _jobs(txn)
    yield from _unsaved(txn)


def _jobs(txn: Transaction) -> Iterator[Problem]:
    spec, spec_repo = t.commit.alias("spec"), t.repo.alias("spec_repo")
    # What is made from the spec is a job's to write; another branch of the repo may be made from something else, and is its users'.
    of_pipeline = (
        sa.select(t.commit_provenance.c.commit_id)
        .join(spec, t.commit_provenance.c.upstream_id == spec.c.id)
        .join(spec_repo, spec.c.repo_id == spec_repo.c.id)
        .where(
            t.commit_provenance.c.commit_id == t.commit.c.id,
            spec_repo.c.type == RepoType.SPEC,
            spec_repo.c.project_id == t.repo.c.project_id,
            spec_repo.c.name == t.repo.c.name,
        )
    )
    written = sa.select(t.job.c.id).where(sa.or_(t.job.c.output_commit_id == t.commit.c.id, t.job.c.meta_commit_id == t.commit.c.id))
    orphans = txn.all(
        sa.select(t.commit.c.id)
        .join(t.repo)
        .where(t.commit.c.finished.is_(None), t.commit.c.origin == Origin.AUTO, of_pipeline.exists(), ~written.exists())
        .order_by(t.commit.c.id)
    )
    for row in orphans:
        yield Problem("open-without-job", f"commit '{commits.get_commit(txn, row.id)}' is open and no job writes it", _close(row.id, "no job wrote it"))
    for commit_column in (t.job.c.output_commit_id, t.job.c.meta_commit_id):
        rows = txn.all(
            sa.select(t.job.c.id, t.job.c.state, t.commit.c.id.label("commit_id"), t.commit.c.finished).join(t.commit, t.commit.c.id == commit_column)
        )
        for row in rows:
            job = jobs.list_job(txn, key=row.id)[0] if (row.state in TERMINAL) is (row.finished is None) else None
            if job is None:
                continue
            if row.finished is None:
                message = f"job '{job}' is {row.state} and its commit '{commits.get_commit(txn, row.commit_id)}' is open"
                yield Problem("job-ended-commit-open", message, _close(row.commit_id, f"job {row.state}: its commit was left open"))
            else:
                message = f"job '{job}' is {row.state} and its commit '{commits.get_commit(txn, row.commit_id)}' is finished"
                yield Problem("job-open-commit-finished", message, _end(row.id))


def _close(commit_id: int, error: str) -> Change:
    return Change(lambda txn: commits.close_commit(txn, commit_id, tree=None, size_bytes=0, error=error))


def _end(job_id: int) -> Change:
    ended = sa.update(t.job).where(t.job.c.id == job_id, t.job.c.state.in_(UNFINISHED))
    return Change(lambda txn: txn.run(ended.values(state=JobState.KILLED, reason="fsck: its commits were finished", finished=txn.clock.now())))


def _unsaved(txn: Transaction) -> Iterator[Problem]:
    state = txn.first(sa.select(t.record_state))
    if state is None or state.saved < state.changed:
        yield Problem("structure-unsaved", "the store does not hold the structure as it is, from which a lost record would be rebuilt", Upkeep.SAVE)
    unrecorded = sa.select(sa.func.count()).select_from(t.commit).where(t.commit.c.recorded == sa.false(), t.commit.c.finished.is_not(None))
    count = txn.connection.execute(unrecorded).scalar_one()
    if count:
        yield Problem(
            "commits-unrecorded", f"the store holds no record, or an old one, of {count} finished commits; a lost record would lack them", Upkeep.SAVE
        )
