"""`draw commit`: the history of a repo as text."""

from collections.abc import Iterator, Mapping, Sequence

import click
import sqlalchemy as sa

from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Printer, Times, printing, shorten, show_size
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references
from pachyderm_dagster.pfs.graph import Node, draw
from pachyderm_dagster.pfs.model import Branch, Commit
from pachyderm_dagster.pfs.references import parse_reference


@click.command(epilog="Example: pachctl draw commit images -n 20")
@click.argument("repo", metavar="REPO[@REF]")
@click.option("-n", "--number", type=COUNT, metavar="N", help="At most so many, the newest.")
@in_project
@printing
@click.pass_obj
def draw_commit(environ: Mapping[str, str], repo: str, number: int | None, project: str, printer: Printer) -> None:
    """The newest comes first; a commit stands above its parent, with the branches that point at it. The ids are those of the commit sets."""
    at = parse_reference(repo, project=project)
    with reading(environ) as txn:
        up_to = None if at.ref is None else references.find_commit(txn, at)
        found = commits.list_commit(txn, at.repo, up_to=up_to, number=number)
        if printer.for_programs:
            printer.many(map(commit_document, found), ())
            return
        lines = list(graph_lines(txn, found, branches.list_branch(txn, at.repo), printer.times))
    for line in lines:
        click.echo(line)


def graph_lines(txn: Transaction, found: Sequence[Commit], heads: Sequence[Branch], times: Times) -> Iterator[str]:
    """The commits of a repo, newest first, as a drawing."""
    names: dict[str | None, list[str]] = {}
    for branch in heads:
        names.setdefault(branch.head, []).append(branch.name.name + (f" <- {branch.trigger.branch}" if branch.trigger else ""))
    parents = {row.id: row.parent_id for row in txn.all(sa.select(t.commit.c.id, t.commit.c.parent_id).where(t.commit.c.id.in_([one.key for one in found])))}
    return draw(Node(commit.key, parents[commit.key], _label(commit, names.get(commit.id, ()), times)) for commit in found)


def _label(commit: Commit, names: Sequence[str], times: Times) -> str:
    if commit.finished is None:
        state = "open"
    elif commit.error is not None:
        state = "failed"
    else:
        state = f"{show_size(commit.size_bytes)} {times.show(commit.finished)}"
    parts = [commit.id, f"({', '.join(names)})" if names else "", state, visible(shorten(commit.description.partition("\n")[0]))]
    return " ".join(part for part in parts if part)
