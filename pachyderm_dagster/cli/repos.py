"""The commands for repos."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.documents import repo_document
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.options import force, in_project, only_one
from pachyderm_dagster.cli.printing import Column, Printer, listed, optional, printing, size, text, time
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import Repo, RepoType
from pachyderm_dagster.pfs.references import parse_repo

COLUMNS = (
    Column("PROJECT", text("project")),
    Column("NAME", text("name")),
    Column("CREATED", time("created")),
    Column("SIZE (MASTER)", size("size_bytes")),
    Column("DESCRIPTION", optional("description")),
)
LINES = (
    Column("Name", text("name")),
    Column("Project", text("project")),
    Column("Description", optional("description")),
    Column("Created", time("created")),
    Column("Size (master)", size("size_bytes")),
    Column("Stored", size("stored_bytes")),
    Column("Branches", listed("branches")),
)


@click.command(epilog="Example: pachctl create repo images -d 'photos as they come in'")
@click.argument("repo")
@click.option("-d", "--description", default="", help="What the repo holds.")
@in_project
@printing
@click.pass_obj
def create_repo(environ: Mapping[str, str], repo: str, description: str, project: str, printer: Printer) -> None:
    """It starts without a branch; the first commit makes one."""
    name = parse_repo(repo, project=project)

    def change(txn: Transaction) -> Repo:
        repos.create_repo(txn, name, description=description)
        return repos.inspect_repo(txn, name)

    printer.only_json(repo_document(writing(environ, change)))


@click.command(epilog="Example: pachctl update repo images -d 'photos, cropped'")
@click.argument("repo")
@click.option("-d", "--description", required=True, help="What the repo holds.")
@in_project
@printing
@click.pass_obj
def update_repo(environ: Mapping[str, str], repo: str, description: str, project: str, printer: Printer) -> None:
    """Nothing else of a repo can be changed."""
    name = parse_repo(repo, project=project)

    def change(txn: Transaction) -> Repo:
        repos.get_repo(txn, name)
        repos.create_repo(txn, name, description=description, update=True)
        return repos.inspect_repo(txn, name)

    printer.only_json(repo_document(writing(environ, change)))


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
@force("Even when branches elsewhere are made from it.")
@in_project
@printing
@click.pass_obj
def delete_repo(environ: Mapping[str, str], repo: str | None, every_repo: bool, force: bool, project: str, printer: Printer) -> None:
    """Refused while a pipeline owns it or a branch elsewhere is made from it."""
    only_one("repo", repo, all_of_them=every_repo)

    def change(txn: Transaction) -> list[Repo]:
        doomed = [repos.inspect_repo(txn, parse_repo(repo, project=project))] if repo is not None else repos.list_repo(txn, project=project)
        for found in doomed:
            repos.delete_repo(txn, found.name, force=force)
        return doomed

    printer.only_json(*map(repo_document, writing(environ, change)))
