"""The commands for branches."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import branch_document
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.options import force, in_project
from pachyderm_dagster.cli.printing import Column, Printer, listed, printing, text, time
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, references
from pachyderm_dagster.pfs.model import Branch
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pfs.short_references import commit_in

COLUMNS = (Column("BRANCH", text("name")), Column("HEAD", text("head")), Column("TRIGGER", text("trigger")), Column("CREATED", time("created")))
LINES = (
    Column("Name", lambda document, _: f"{document['repo']}@{document['name']}"),
    Column("Head", text("head")),
    Column("Made from", listed("direct_provenance")),
    Column("Created", time("created")),
)


@click.command(epilog="Example: pachctl create branch images@release --head master^2")
@click.argument("branch", metavar="REPO@BRANCH")
@click.option("--head", metavar="REF", help="The commit that it points at: a branch, id or ancestor in the repo, or REPO@REF.")
@click.option(
    "-p", "--provenance", multiple=True, metavar="REPO@BRANCH", help="A branch that it is made from; may be repeated. Without it, a branch loses what it had."
)
@in_project
@printing
@click.pass_obj
def create_branch(environ: Mapping[str, str], branch: str, head: str | None, provenance: tuple[str, ...], project: str, printer: Printer) -> None:
    """A branch that exists is moved to --head; what is downstream of it then runs again."""
    printer.only_json(branch_document(_create(environ, branch, head, provenance, project)))


@click.command(epilog="Example: pachctl set-branch images master^ release")
@click.argument("repo")
@click.argument("commit")
@click.argument("branch")
@in_project
@printing
@click.pass_obj
def set_branch(environ: Mapping[str, str], repo: str, commit: str, branch: str, project: str, printer: Printer) -> None:
    """The 1.x form of `create branch REPO@BRANCH --head COMMIT`."""
    printer.only_json(branch_document(_create(environ, f"{repo}@{branch}", commit, (), project)))


@click.command(epilog="Example: pachctl inspect branch images@master")
@click.argument("branch", metavar="REPO@BRANCH")
@in_project
@printing
@click.pass_obj
def inspect_branch(environ: Mapping[str, str], branch: str, project: str, printer: Printer) -> None:
    """Its head, and the branches that it is made from."""
    with reading(environ) as txn:
        found = branches.inspect_branch(txn, parse_reference(branch, project=project).branch())
    printer.one(branch_document(found), LINES)


@click.command(epilog="Example: pachctl list branch images")
@click.argument("repo")
@in_project
@printing
@click.pass_obj
def list_branch(environ: Mapping[str, str], repo: str, project: str, printer: Printer) -> None:
    """The oldest comes first."""
    with reading(environ) as txn:
        found = branches.list_branch(txn, parse_repo(repo, project=project))
    printer.many(map(branch_document, found), COLUMNS)


@click.command(epilog="Example: pachctl delete branch images@release")
@click.argument("branch", metavar="REPO@BRANCH")
@force("Even when other branches are made from it.")
@in_project
@printing
@click.pass_obj
def delete_branch(environ: Mapping[str, str], branch: str, force: bool, project: str, printer: Printer) -> None:
    """Refused while another branch is made from it or a pipeline writes it."""
    name = parse_reference(branch, project=project).branch()

    def change(txn: Transaction) -> Branch:
        found = branches.inspect_branch(txn, name)
        branches.delete_branch(txn, name, force=force)
        return found

    printer.only_json(branch_document(writing(environ, change)))


def _create(environ: Mapping[str, str], branch: str, head: str | None, provenance: tuple[str, ...], project: str) -> Branch:
    name = parse_reference(branch, project=project).branch()
    sources = [parse_reference(source, project=project).branch() for source in provenance]
    at = None if head is None else commit_in(name.repo, head, project=project)

    def change(txn: Transaction) -> Branch:
        row = None if at is None else references.find_commit(txn, at)
        branches.create_branch(txn, name, provenance=sources, head=row)
        return branches.inspect_branch(txn, name)

    return writing(environ, change)
