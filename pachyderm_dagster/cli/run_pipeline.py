"""`run pipeline`."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.asking import add_to_active, refuse_in_transaction
from pachyderm_dagster.cli.documents import document_of, job_document
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pfs.requests import Contents
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.pins import Pin, parse_pin, pins_of_jobs
from pachyderm_dagster.pps.requests import RerunPipeline, apply
from pachyderm_dagster.record import open_record


@click.command(epilog="Example: pachctl run pipeline edges images@master^2")
@click.argument("pipeline")
@click.argument("inputs", nargs=-1, metavar="[REPO@REF]...")
@click.option("-j", "--job", "like", metavar="PIPELINE@ID", help="Read what that job of the pipeline read.")
@click.option("--each", metavar="REPO@REF", help="One job for that commit and one for each before it, the oldest first.")
@click.option("-f", "--from", "oldest", metavar="REF", help="With --each: only those after this commit.")
@click.option("-n", "--number", type=COUNT, metavar="N", help="With --each: at most so many, the newest.")
@click.option("--reprocess", is_flag=True, help="Run every datum again, in a new version of the pipeline.")
@in_project
@printing
@click.pass_obj
def run_pipeline(
    environ: Mapping[str, str],
    pipeline: str,
    inputs: tuple[str, ...],
    like: str | None,
    each: str | None,
    oldest: str | None,
    number: int | None,
    reprocess: bool,
    project: str,
    printer: Printer,
) -> None:
    """What is not named is read at its head, and what is downstream runs too. REPO@BRANCH=ID says through which branch, where the pipeline reads several.

    The output of an old commit becomes the head of the output branch: `pachctl rerun pipeline` puts that of the newest there again.
    """
    if each is None and (oldest is not None or number is not None):
        raise click.UsageError("--from and --number choose among the commits of --each", click.get_current_context())
    name = parse_repo(pipeline, project=project)
    given = tuple(parse_pin(text, project=project) for text in inputs)
    if each is not None:
        refuse_in_transaction(environ, "a job for each commit")
    with closing(open_record(environ).database) as database:
        with database.read() as txn:
            given += tuple(pins_of_jobs(txn, [find_job(txn, like, project=project)])) if like is not None else ()
            chosen = [None] if each is None else list(_history(txn, each, oldest, number, project))
        requests = [RerunPipeline(name, reprocess and at == 0, given if pin is None else (*given, pin)) for at, pin in enumerate(chosen)]
        if each is None:
            added = add_to_active(environ, requests[0])
            if added is not None:
                printer.only_documents(*map(document_of, added))
                return
        printer.only_documents(*(job_document(_run(database, name, request)) for request in requests))
    if reprocess:
        tend(environ)


def _run(database: Database, name: RepoName, request: RerunPipeline) -> Job:
    def change(txn: Transaction) -> str:
        apply(txn, request, Contents())
        return txn.id

    made = database.write(change)
    with database.read() as txn:
        return jobs.get_job(txn, name, made)


def _history(txn: Transaction, each: str, oldest: str | None, number: int | None, project: str) -> Iterator[Pin]:
    """The commits that can be read of the history up to one, the oldest first."""
    at = parse_reference(each, project=project)
    found = commits.list_commit(txn, up_to=references.find_commit(txn, at))
    start = 0 if oldest is None else references.find_commit(txn, commit_in(at.repo, oldest, project=project))
    # A branch begins with an empty commit that nobody wrote.
    good = (one for one in found if one.key > start and one.finished and one.error is None and not one.forgotten and (one.parent or one.size_bytes))
    yield from (Pin(at.repo, one.id) for one in reversed(list(itertools.islice(good, number))))
