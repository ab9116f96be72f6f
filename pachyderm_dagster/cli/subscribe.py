"""`subscribe commit`."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.commits import COLUMNS
from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.options import COUNT, in_project, without_effect
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references, repos
from pachyderm_dagster.pfs.model import Commit, Origin
from pachyderm_dagster.pfs.references import Reference, parse_reference
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.pfs.subscription import Position, take
from pachyderm_dagster.record import Record, open_record

POLL_SECONDS = 0.2
LONGEST_SECONDS = 1.0
"""Where word of changes comes."""


@click.command(epilog="Example: pachctl subscribe commit edges@master --new -o json")
@click.argument("branch", metavar="REPO[@BRANCH]")
@click.option("-n", "--number", type=COUNT, metavar="N", help="End after so many.")
@click.option("--from", "oldest", metavar="REF", help="Only those after this commit.")
@click.option("--new", is_flag=True, help="Only those that start from now on.")
@click.option("--origin", type=click.Choice([origin.value for origin in Origin], case_sensitive=False), help="Only commits of this origin.")
@without_effect("--all", is_flag=True)
@in_project
@printing
@click.pass_obj
def subscribe_commit(
    environ: Mapping[str, str], branch: str, number: int | None, oldest: str | None, new: bool, origin: str | None, project: str, printer: Printer
) -> None:
    """The oldest comes first; then it goes on until Ctrl-C. It runs nothing: jobs need `pachyderm-dagster dev`, or a `wait` elsewhere."""
    at = parse_reference(branch, project=project)
    record = open_record(environ)
    with closing(record.database):
        with record.database.read() as txn:
            position = _begin(txn, at, oldest, new=new)
        click.echo(f"waiting for finished commits of {at}", err=True)
        told = 0
        for commit in _finished(record, at, position):
            if origin is not None and commit.origin != origin:
                continue
            document = commit_document(commit)
            printer.only_documents(document)
            if not printer.for_programs:
                click.echo(" ".join(column.show(document, printer.times) for column in COLUMNS).rstrip())
            told += 1
            if told == number:
                return


def _begin(txn: Transaction, at: Reference, oldest: str | None, *, new: bool) -> Position:
    """Behind the last commit that is not wanted."""
    repos.get_repo(txn, at.repo)
    if at.ref is not None:
        at.branch()
    if oldest is not None:
        return Position(references.find_commit(txn, commit_in(at.repo, oldest, project=at.repo.project)))
    return Position(max((commit.key for commit in commits.list_commit(txn, at.repo, number=1)), default=0)) if new else Position()


def _finished(record: Record, at: Reference, position: Position) -> Iterator[Commit]:
    """The finished commits of a repo or branch from a position on, without an end."""
    with record.changes.watch() as watcher:
        while True:
            with record.database.read() as txn:
                found, position = take(txn, at, position)
            yield from found
            watcher.wait(POLL_SECONDS, LONGEST_SECONDS)
