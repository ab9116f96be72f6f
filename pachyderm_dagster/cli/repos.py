"""The commands for repos."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import document_of, repo_document
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import force, gone_option, in_project, only_one
from pachyderm_dagster.cli.printing import Column, Printer, brief, listed, noted, optional, printing, size, text, time
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import RepoType
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pfs.requests import CreateRepo, DeleteRepo, UpdateRepo

COLUMNS = (
    Column("PROJECT", text("project")),
    Column("NAME", text("name")),
    Column("CREATED", time("created")),
    Column("SIZE (MASTER)", size("size_bytes")),
    Column("DESCRIPTION", brief("description")),
)
LINES = (
    Column("Name", text("name")),
    Column("Project", text("project")),
    Column("Description", optional("description")),
    Column("Created", time("created")),
    Column("Size (master)", size("size_bytes")),
    Column("Stored", size("stored_bytes")),
    Column("Branches", listed("branches")),
    Column("Metadata", noted("metadata")),
)


@click.command(epilog="Example: pachctl create repo images -d 'photos as they come in'")
@click.argument("repo")
@click.option("-d", "--description", default="", help="What the repo holds.")
@in_project
@printing
@click.pass_obj
def create_repo(environ: Mapping[str, str], repo: str, description: str, project: str, printer: Printer) -> None:
    """It starts without a branch; the first commit makes one."""
    printer.only_documents(*map(document_of, ask(environ, CreateRepo(parse_repo(repo, project=project), description))))


@click.command(epilog="Example: pachctl update repo images -d 'photos, cropped'")
@click.argument("repo")
@click.option("-d", "--description", required=True, help="What the repo holds.")
@in_project
@printing
@click.pass_obj
def update_repo(environ: Mapping[str, str], repo: str, description: str, project: str, printer: Printer) -> None:
    """Nothing else of a repo can be changed."""
    printer.only_documents(*map(document_of, ask(environ, UpdateRepo(parse_repo(repo, project=project), description))))


@click.command(epilog="Example: pachctl inspect repo images")
@click.argument("repo")
@in_project
@printing
@click.pass_obj
def inspect_repo(environ: Mapping[str, str], repo: str, project: str, printer: Printer) -> None:
    """Its size is that of the newest finished version of master; stored is what writing its commits added to the store."""
    name = parse_repo(repo, project=project)
    with reading(environ) as txn:
        found, stored_bytes = repos.inspect_repo(txn, name), repos.sum_stored_bytes(txn, name)
    printer.one({**repo_document(found), "stored_bytes": stored_bytes}, LINES)


@click.command(epilog="Example: pachctl list repo -o json")
@click.option("--all", "every_type", is_flag=True, help="System repos too.")
@click.option(
    "--type", "repo_type", type=click.Choice([kind.value for kind in RepoType]), default=RepoType.USER.value, show_default=True, help="Only repos of this type."
)
@click.option("-A", "--all-projects", is_flag=True, help="The repos of every project.")
@in_project
@printing
@click.pass_obj
def list_repo(environ: Mapping[str, str], every_type: bool, repo_type: str, all_projects: bool, project: str, printer: Printer) -> None:
    """Those of one project, without system repos, unless told otherwise."""
    with reading(environ) as txn:
        found = repos.list_repo(txn, project=None if all_projects else project, type=None if every_type else RepoType(repo_type))
    printer.many(map(repo_document, found), COLUMNS)


@click.command(epilog="Example: pachctl delete repo images")
@click.argument("repo", required=False)
@click.option("--all", "every_repo", is_flag=True, help="Every repo of the project, or none when one is refused.")
@gone_option("-A", "--all-projects", is_flag=True, instead="take one project after the other with --project NAME, or `pachctl delete all`")
@force("Even when branches elsewhere are made from it.")
@in_project
@printing
@click.pass_obj
def delete_repo(environ: Mapping[str, str], repo: str | None, every_repo: bool, force: bool, project: str, printer: Printer) -> None:
    """Refused while a pipeline owns it or a branch elsewhere is made from it."""
    only_one("repo", repo, all_of_them=every_repo)
    named = None if repo is None else parse_repo(repo, project=project)
    printer.only_documents(*map(document_of, ask(environ, DeleteRepo(named, project, force))))
