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
@click.argument("target", metavar="PIPELINE|REPO@BRANCH")
@in_project
@printing
@click.pass_obj
def run_cron(environ: Mapping[str, str], target: str, project: str, printer: Printer) -> None:
    """Each cron input of a pipeline gets one more tick, which is a commit, and the pipeline a job for it.

    A branch with --trigger-cron moves as it would then.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        if "@" in target:
            ticks = [workspace.pfs.tick_branch(target)]
        else:
            ticks = workspace.pps.run_cron(parse_repo(target, project=project))
    printer.only_documents(*map(commit_document, ticks))
