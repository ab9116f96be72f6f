"""`import extract`."""

from collections.abc import Mapping
from contextlib import closing
from typing import BinaryIO

import click

from pachyderm_dagster.cli.arriving import create, tell_skipped, write_specs
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.cli.progress import Progress
from pachyderm_dagster.moving.arrivals import Arrivals
from pachyderm_dagster.moving.replaying import replay
from pachyderm_dagster.workspace import open_workspace

LINES = (
    Column("Pachyderm", text("version")),
    *(Column(name.capitalize(), text(name)) for name in ("repos", "commits", "branches", "pipelines")),
    Column("Left behind", lambda document, _: ", ".join(f"{count} {kind}" for kind, count in document["left"].items())),
)


@click.command(epilog="Example: pachctl import extract -f backup --pipelines pipelines.json")
@click.option("-f", "--file", "source", type=click.File("rb"), default="-", help="The extract, standard input unless given.")
@click.option("--pipelines", type=click.Path(dir_okay=False), metavar="FILE", help="Where the specifications of its pipelines go, to be looked at and created.")
@click.option("--create-pipelines", is_flag=True, help="Create the pipelines at once; each gets its first job.")
@in_project
@printing
@click.pass_obj
def import_extract(environ: Mapping[str, str], source: BinaryIO, pipelines: str | None, create_pipelines: bool, project: str, printer: Printer) -> None:
    """Repos come with their branches and with all commits, under the ids and times that they had. What is refused here is told by name and left out. An
    import that was interrupted goes on when it is started again.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        with Progress("import extract") as progress:
            found = replay(source, Arrivals(workspace, project, "pachyderm-1"), progress.advance)
        if pipelines is not None:
            write_specs(pipelines, found.pipelines)
        skipped = [*found.skipped, *(create(workspace, found.pipelines) if create_pipelines else ())]
    tell_skipped(skipped)
    counts = {"repos": found.repos, "commits": found.commits, "branches": found.branches, "pipelines": len(found.pipelines)}
    printer.one({"version": found.version, **counts, "left": found.left, "skipped": skipped}, LINES)
