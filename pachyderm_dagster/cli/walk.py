"""`walk provenance` and `walk subvenance`."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from pachyderm_dagster.cli.commits import COLUMNS
from pachyderm_dagster.cli.documents import commit_document, repo_in_project
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.pfs import references
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.subvenance import MOST_RESULTS, MOST_STEPS, walk_branches, walk_commits

BRANCH_COLUMNS = (Column("PROJECT", text("project")), Column("REPO", text("repo")), Column("BRANCH", text("name")))


def walking(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the argument and the options of a walk."""
    options = (
        click.argument("at", metavar="REPO@REF"),
        click.option("-b", "--branches", is_flag=True, help="Walk from branch to branch instead, the nearest first."),
        click.option("--depth", type=click.IntRange(min=1, max=MOST_STEPS), default=MOST_STEPS, show_default=True, help="At most so many steps away."),
        click.option("-n", "--number", type=click.IntRange(min=1, max=MOST_RESULTS), default=MOST_RESULTS, show_default=True, help="At most so many."),
        click.option("--all", "include_system", is_flag=True, help="Those of system repos too."),
        in_project,
        printing,
        click.pass_obj,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog="Example: pachctl walk provenance montage@master")
@walking
def walk_provenance(environ: Mapping[str, str], **options: Any) -> None:
    """Directly or not; the newest comes first."""
    _walk(environ, downwards=False, **options)


@click.command(epilog="Example: pachctl walk subvenance images@master")
@walking
def walk_subvenance(environ: Mapping[str, str], **options: Any) -> None:
    """Directly or not; the newest comes first."""
    _walk(environ, downwards=True, **options)


def _walk(
    environ: Mapping[str, str], *, downwards: bool, at: str, branches: bool, depth: int, number: int, include_system: bool, project: str, printer: Printer
) -> None:
    reference = parse_reference(at, project=project)

    def is_shown(repo: RepoName) -> bool:
        return include_system or repo.type is RepoType.USER

    with reading(environ) as txn:
        if branches:
            names = walk_branches(txn, references.branch_row(txn, reference.branch()).id, downwards=downwards, depth=depth)
            documents = [{"repo": repo_in_project(name.repo), "project": name.repo.project, "name": name.name} for name in names if is_shown(name.repo)]
        else:
            found = walk_commits(txn, references.find_commit(txn, reference), downwards=downwards, depth=depth)
            documents = [commit_document(commit) for commit in found if is_shown(commit.repo)]
    printer.many(documents[:number], BRANCH_COLUMNS if branches else COLUMNS)
