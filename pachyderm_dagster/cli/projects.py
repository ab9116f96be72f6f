"""The commands for projects."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import document_of, project_document
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import active_project, force
from pachyderm_dagster.cli.printing import Column, Printer, brief, noted, optional, printing, text, time
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.requests import CreateProject, UpdateProject
from pachyderm_dagster.pps.requests import DeleteProject

COLUMNS = (Column("PROJECT", text("name")), Column("CREATED", time("created")), Column("DESCRIPTION", brief("description")))
LINES = (
    Column("Name", text("name")),
    Column("Description", optional("description")),
    Column("Created", time("created")),
    Column("Metadata", noted("metadata")),
)


@click.command(epilog="Example: pachctl create project vision")
@click.argument("project")
@click.option("-d", "--description", default="", help="What the project is for.")
@printing
@click.pass_obj
def create_project(environ: Mapping[str, str], project: str, description: str, printer: Printer) -> None:
    """A project is a name space for repos and pipelines; `default` always exists."""
    printer.only_documents(*map(document_of, ask(environ, CreateProject(project, description))))


@click.command(epilog="Example: pachctl update project vision -d 'all about images'")
@click.argument("project")
@click.option("-d", "--description", required=True, help="What the project is for.")
@printing
@click.pass_obj
def update_project(environ: Mapping[str, str], project: str, description: str, printer: Printer) -> None:
    """Nothing else of a project can be changed."""
    printer.only_documents(*map(document_of, ask(environ, UpdateProject(project, description))))


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
    """All of them, by name; a `*` marks the active one."""
    with reading(environ) as txn:
        found = repos.list_project(txn)
    active = active_project(environ)
    mark = Column("ACTIVE", lambda document, _: "*" if document["name"] == active else "")
    printer.many(map(project_document, found), (mark, *COLUMNS))


@click.command(epilog="Example: pachctl delete project vision --force")
@click.argument("project")
@force("With its pipelines and repos.")
@printing
@click.pass_obj
def delete_project(environ: Mapping[str, str], project: str, force: bool, printer: Printer) -> None:
    """With --force its pipelines and repos go too."""
    printer.only_documents(*map(document_of, ask(environ, DeleteProject(project, force))))
    tend(environ)
