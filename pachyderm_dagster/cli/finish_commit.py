"""`finish commit`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.active_transaction import active_transaction
from pachyderm_dagster.cli.documents import document_of
from pachyderm_dagster.cli.options import gone_option, in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.pfs.requests import FinishCommit
from pachyderm_dagster.pps.requests import Made
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachctl finish commit images@master")
@click.argument("commit", metavar="REPO@REF")
@click.option("-m", "--message", "--description", "description", help="What the commit is about.")
@click.option("--error", metavar="TEXT", help="Finish it with an error: what is downstream does not run, and later commits do not build on it.")
@gone_option("-f", "--force", is_flag=True, instead="jobs finish their own commits; `pachctl stop job PIPELINE@ID` ends one")
@in_project
@printing
@click.pass_obj
def finish_commit(environ: Mapping[str, str], commit: str, description: str | None, error: str | None, project: str, printer: Printer) -> None:
    """What is downstream of it is due from now on."""
    active = active_transaction(environ)
    with closing(open_workspace(environ, project=project)) as workspace:
        if active is None:
            finished: list[Made] = [workspace.pfs.finish_commit(commit, description=description, error=error)]
        else:
            finished = workspace.pps.append_request(active, FinishCommit(workspace.pfs.parse(commit), description, error))
    printer.only_documents(*map(document_of, finished))
