"""`run cron`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import commit_document
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachctl run cron nightly")
@click.argument("pipeline")
@in_project
@printing
@click.pass_obj
def run_cron(environ: Mapping[str, str], pipeline: str, project: str, printer: Printer) -> None:
    """Each of its cron inputs gets one more tick, which is a commit, and the pipeline a job for it."""
    with closing(open_workspace(environ, project=project)) as workspace:
        ticks = workspace.pps.run_cron(parse_repo(pipeline, project=project))
    printer.only_documents(*map(commit_document, ticks))
