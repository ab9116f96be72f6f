"""The commands that wait."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import click
import sqlalchemy as sa

from pachyderm_dagster.cli.commit_names import commit_or_set
from pachyderm_dagster.cli.commits import COLUMNS as COMMIT_COLUMNS
from pachyderm_dagster.cli.documents import commit_document, job_document
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.job_names import find_jobs
from pachyderm_dagster.cli.jobs import COLUMNS as JOB_COLUMNS
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.staying_workers import tend_unwatched
from pachyderm_dagster.cli.waiting import wait_for
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.errors import ExecutionError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import Commit, RepoType
from pachyderm_dagster.pfs.references import Reference, parse_reference
from pachyderm_dagster.pfs.subvenance import list_subvenance
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.record import open_record


def time_limit(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--timeout`."""
    return click.option("--timeout", metavar="TIME", help="Give up after so long (90s, 5m); a job that runs in this process is not interrupted.")(command)


@click.command(epilog="Example: pachctl wait commit edges@master")
@click.argument("commits_to_wait_for", metavar="REPO@REF|ID...", nargs=-1, required=True)
@time_limit
@in_project
@printing
@click.pass_obj
def wait_commit(environ: Mapping[str, str], commits_to_wait_for: tuple[str, ...], timeout: str | None, project: str, printer: Printer) -> None:
    """Ends with exit status 1 when one of them has an error. With no daemon up, due jobs run in this process."""
    named = [(text, commit_or_set(text, project=project)) for text in commits_to_wait_for]

    def choose(txn: Transaction) -> list[Commit]:
        return [commit for text, at in named for commit in _named(txn, text, at)]

    _wait_for_commits(environ, choose, timeout, printer)


@click.command(epilog="Example: pachctl flush commit images@master")
@click.argument("commits_to_flush", metavar="REPO@REF...", nargs=-1, required=True)
@time_limit
@in_project
@printing
@click.pass_obj
def flush_commit(environ: Mapping[str, str], commits_to_flush: tuple[str, ...], timeout: str | None, project: str, printer: Printer) -> None:
    """Ends with exit status 1 when one of them has an error. With no daemon up, due jobs run in this process."""
    named = [parse_reference(text, project=project) for text in commits_to_flush]

    def choose(txn: Transaction) -> list[Commit]:
        return [commit for at in named for commit in _with_downstream(txn, at)]

    _wait_for_commits(environ, choose, timeout, printer)


@click.command(epilog="Example: pachctl wait job edges@master")
@click.argument("job", metavar="PIPELINE@ID|ID")
@time_limit
@in_project
@printing
@click.pass_obj
def wait_job(environ: Mapping[str, str], job: str, timeout: str | None, project: str, printer: Printer) -> None:
    """Ends with exit status 1 when it did not succeed. With no daemon up, due jobs run in this process."""
    ended = wait_for_jobs(environ, job, project=project, timeout=timeout)
    printer.many(map(job_document, ended), JOB_COLUMNS)
    failed = [one for one in ended if one.state is not JobState.SUCCESS]
    if failed:
        # Jobs come newest first: the last one is furthest upstream, and the others may have failed for its sake.
        raise ExecutionError("job-failed", f"job '{failed[-1]}' ended as {failed[-1].state}: {failed[-1].reason}")


def wait_for_jobs(environ: Mapping[str, str], job: str, *, project: str, timeout: str | None = None) -> list[Job]:
    """Waits until the jobs that a text names have ended, and returns them, the newest first. Errors as `find_jobs` and `wait_for`."""
    with reading(environ) as txn:
        waited = find_jobs(txn, job, project=project)
    return wait_for_ends(environ, waited, timeout=timeout)


def wait_for_ends(environ: Mapping[str, str], waited: Sequence[Job], *, timeout: str | None = None) -> list[Job]:
    """Waits until jobs have ended, and returns them as they ended. Errors as `wait_for`."""
    outputs = {one.output_commit: str(one) for one in waited}
    record = open_record(environ)
    with closing(record.database):
        if not wait_for(record, environ, lambda txn: _open(txn, outputs), timeout=_seconds(timeout)):
            tend_unwatched(record, environ)
        with record.database.read() as txn:
            return [jobs.refresh(txn, one) for one in waited]


def _wait_for_commits(environ: Mapping[str, str], choose: Callable[[Transaction], list[Commit]], timeout: str | None, printer: Printer) -> None:
    record = open_record(environ)
    with closing(record.database):
        with record.database.read() as txn:
            chosen = choose(txn)
        waited = {commit.key: str(commit) for commit in chosen if commit.repo.type is RepoType.USER}
        has_waited = wait_for(record, environ, lambda txn: _open(txn, waited), timeout=_seconds(timeout))
        # What pipelines write beside their output ends with it; who asks for that alone, or has one that was left open, waits for it too.
        beside = {commit.key: str(commit) for commit in chosen if commit.key not in waited}
        if not wait_for(record, environ, lambda txn: _open(txn, beside), timeout=_seconds(timeout)) and not has_waited:
            tend_unwatched(record, environ)
        with record.database.read() as txn:
            ended = [commits.get_commit(txn, key) for key in sorted(waited or beside)]
    printer.many(map(commit_document, ended), COMMIT_COLUMNS)
    failed = [commit for commit in ended if commit.error is not None]
    if failed:
        raise ExecutionError("commit-failed", f"commit '{failed[0]}' has an error: {failed[0].error}")


def _named(txn: Transaction, text: str, at: Reference | None) -> list[Commit]:
    return _ending(txn, commits.get_set(txn, text)) if at is None else [commits.get_commit(txn, references.find_commit(txn, at))]


def _with_downstream(txn: Transaction, at: Reference) -> list[Commit]:
    key = references.find_commit(txn, at)
    return [commits.get_commit(txn, key), *_ending(txn, list_subvenance(txn, key))]


def _ending(txn: Transaction, found: Sequence[Commit]) -> list[Commit]:
    """Those of the commits that end by themselves: what a service writes is open until its next commit comes, and is waited for by name only."""
    services = {key for set_id in {commit.id for commit in found} for key in jobs.list_service_commit(txn, set_id)}
    return [commit for commit in found if commit.key not in services]


def _open(txn: Transaction, waited: Mapping[int, str]) -> list[Commit]:
    """Those of the commits, given by row with their names, that are not finished.

    Raises:
        NotFoundError: `commit-not-found`, when one of them was deleted.
    """
    found = {commit.key: commit for commit in commits.list_rows(txn, sa.select(t.commit.c.id).where(t.commit.c.id.in_(waited)))}
    gone = [name for key, name in waited.items() if key not in found]
    if gone:
        raise NotFoundError("commit-not-found", f"'{gone[0]}' was deleted while it was waited for")
    return [commit for commit in found.values() if commit.finished is None]


def _seconds(timeout: str | None) -> float | None:
    return None if timeout is None else parse_given_duration(timeout)
