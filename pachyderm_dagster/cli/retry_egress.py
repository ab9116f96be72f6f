"""`retry egress`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import job_document
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.retry_egress import retry_egress as retry
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachctl retry egress predictions@master")
@click.argument("job", metavar="PIPELINE@ID|ID")
@in_project
@printing
@click.pass_obj
def retry_egress(environ: Mapping[str, str], job: str, project: str, printer: Printer) -> None:
    """PIPELINE@BRANCH is the job that made the branch's head. Its output goes where its version of the pipeline says.
    Ends with exit status 1 when that failed again.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            found = find_job(txn, job, project=project)
        done = retry(workspace, found)
    printer.only_documents(job_document(done))
    if done.state is not JobState.SUCCESS:
        raise ExecutionError("job-failed", f"job '{done}' ended as {done.state}: {done.reason}")
