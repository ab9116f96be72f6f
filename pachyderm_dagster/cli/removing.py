"""The commands that take commits, or what is in them, away again."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.commit_names import commit_or_set
from pachyderm_dagster.cli.documents import commit_document, document_of
from pachyderm_dagster.cli.home import writing
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references, removal
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.references import Reference, parse_reference
from pachyderm_dagster.pfs.requests import DropCommit, DropCommitSet, SquashCommit, SquashCommitSet

recursive = click.option("-r", "--recursive", is_flag=True, help="With REPO@REF: what was made from it goes too.")


@click.command(epilog="Example: pachctl squash commit images@master^")
@click.argument("commit", metavar="ID|REPO@REF")
@recursive
@in_project
@printing
@click.pass_obj
def squash_commit(environ: Mapping[str, str], commit: str, recursive: bool, project: str, printer: Printer) -> None:
    """What it wrote stays: it is part of the commits that came after, which there must be. An ID means every commit of the set."""
    at = _parse(commit, project, recursive=recursive)
    request = SquashCommitSet(commit) if at is None else SquashCommit(at, recursive)
    printer.only_documents(*map(document_of, ask(environ, request)))


@click.command(epilog="Example: pachctl delete commit images@master")
@click.argument("commit", metavar="ID|REPO@REF")
@recursive
@in_project
@printing
@click.pass_obj
def delete_commit(environ: Mapping[str, str], commit: str, recursive: bool, project: str, printer: Printer) -> None:
    """What it wrote goes with it. Refused while other commits came after it, or were made from it. An ID means every commit of the set."""
    at = _parse(commit, project, recursive=recursive)
    request = DropCommitSet(commit) if at is None else DropCommit(at, recursive)
    printer.only_documents(*map(document_of, ask(environ, request)))


@click.command(epilog="Example: pachctl forget commit edges@master^3")
@click.argument("commit", metavar="REPO@REF")
@in_project
@printing
@click.pass_obj
def forget_commit(environ: Mapping[str, str], commit: str, project: str, printer: Printer) -> None:
    """For outputs of pipelines that later ones replaced: the commit stays in the lists, its files can be read no more."""
    at = parse_reference(commit, project=project)
    printer.only_documents(commit_document(writing(environ, lambda txn: removal.forget_commit(txn, references.find_commit(txn, at)))))


@click.command(epilog="Example: pachctl clear commit images@master")
@click.argument("commit", metavar="REPO@REF")
@in_project
@printing
@click.pass_obj
def clear_commit(environ: Mapping[str, str], commit: str, project: str, printer: Printer) -> None:
    """The commit stays open and holds again what was there before it."""
    at = parse_reference(commit, project=project)

    def change(txn: Transaction) -> Commit:
        key = references.find_commit(txn, at)
        commits.clear_commit(txn, key)
        return commits.get_commit(txn, key)

    printer.only_documents(commit_document(writing(environ, change)))


def _parse(commit: str, project: str, *, recursive: bool) -> Reference | None:
    """The commit that is named; None for the id of a set."""
    at = commit_or_set(commit, project=project)
    if at is None and recursive:
        raise click.UsageError("-r goes with REPO@REF; an id names a whole set", click.get_current_context())
    return at
