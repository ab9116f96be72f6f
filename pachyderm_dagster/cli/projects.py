"""The commands for projects."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import project_document
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.options import force
from pachyderm_dagster.cli.printing import Column, Printer, optional, printing, text, time
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import Project
from pachyderm_dagster.pps.deletion import empty_project

COLUMNS = (Column("PROJECT", text("name")), Column("CREATED", time("created")), Column("DESCRIPTION", optional("description")))
LINES = (Column("Name", text("name")), Column("Description", optional("description")), Column("Created", time("created")))


@click.command(epilog="Example: pachctl create project vision")
@click.argument("project")
@click.option("-d", "--description", default="", help="What the project is for.")
@printing
@click.pass_obj
def create_project(environ: Mapping[str, str], project: str, description: str, printer: Printer) -> None:
    """A project is a name space for repos and pipelines; `default` always exists."""

    def change(txn: Transaction) -> Project:
        repos.create_project(txn, project, description=description)
        return repos.inspect_project(txn, project)

    printer.only_json(project_document(writing(environ, change)))


@click.command(epilog="Example: pachctl inspect project vision")
@click.argument("project")
@printing
@click.pass_obj
def inspect_project(environ: Mapping[str, str], project: str, printer: Printer) -> None:
    """What it is for, and since when it exists."""
    with reading(environ) as txn:
        found = repos.inspect_project(txn, project)
    printer.one(project_document(found), LINES)


@click.command(epilog="Example: pachctl list project")
@printing
@click.pass_obj
def list_project(environ: Mapping[str, str], printer: Printer) -> None:
    """All of them, by name."""
    with reading(environ) as txn:
        found = repos.list_project(txn)
    printer.many(map(project_document, found), COLUMNS)


@click.command(epilog="Example: pachctl delete project vision --force")
@click.argument("project")
@force("With its pipelines and repos.")
@printing
@click.pass_obj
def delete_project(environ: Mapping[str, str], project: str, force: bool, printer: Printer) -> None:
    """With --force its pipelines and repos go too."""

    def change(txn: Transaction) -> Project:
        found = repos.inspect_project(txn, project)
        if force:
            empty_project(txn, project)
        repos.delete_project(txn, project)
        return found

    printer.only_json(project_document(writing(environ, change)))
