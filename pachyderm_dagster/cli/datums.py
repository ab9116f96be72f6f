"""The commands for datums."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, listed, optional, printing, size, text
from pachyderm_dagster.pps.client import DatumInfo
from pachyderm_dagster.workspace import open_workspace

STATES = ("SUCCESS", "FAILED", "SKIPPED", "RECOVERED")
COLUMNS = (
    Column("ID", text("id")),
    Column("FILES", listed("files")),
    Column("STATUS", text("state")),
    Column("TIME", lambda document, _: f"{document['process_seconds']:.3f} s"),
)
LINES = (
    Column("ID", text("id")),
    Column("Job", text("job")),
    Column("State", text("state")),
    Column("Reason", optional("reason")),
    Column("Ran in job", text("ran_in")),
    Column("Tries", text("tries")),
    Column("Data downloaded", size("download_bytes")),
    Column("Data uploaded", size("upload_bytes")),
    Column("Download time", lambda document, _: f"{document['download_seconds']:.3f} s"),
    Column("Process time", lambda document, _: f"{document['process_seconds']:.3f} s"),
    Column("Upload time", lambda document, _: f"{document['upload_seconds']:.3f} s"),
    Column("Files", listed("files")),
)


def datum_document(datum: DatumInfo) -> Fields:
    """A datum of a job; seconds and bytes are those of the job that ran it."""
    details = datum.details
    return {
        "id": datum.id,
        "job": str(datum.job),
        "state": datum.state,
        "files": list(details.inputs),
        "reason": details.reason,
        "ran_in": datum.ran_in,
        "tries": details.tries,
        "exit_code": details.exit_code,
        "download_seconds": details.download_seconds,
        "process_seconds": details.process_seconds,
        "upload_seconds": details.upload_seconds,
        "download_bytes": details.download_bytes,
        "upload_bytes": details.upload_bytes,
    }


@click.command(epilog="Example: pachctl list datum edges@master")
@click.argument("job", metavar="PIPELINE@ID")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False), help="Only datums that ended like this; may be repeated.")
@in_project
@printing
@click.pass_obj
def list_datum(environ: Mapping[str, str], job: str, states: tuple[str, ...], project: str, printer: Printer) -> None:
    """PIPELINE@BRANCH is the job that made the branch's head. Those of a job that still runs are listed when it has ended."""
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            found = find_job(txn, job, project=project)
        datums = (datum for datum in workspace.pps.list_datum(found) if not states or datum.state in states)
        printer.many(map(datum_document, datums), COLUMNS)


@click.command(epilog="Example: pachctl inspect datum edges@master 5f2c")
@click.argument("job", metavar="PIPELINE@ID")
@click.argument("datum")
@in_project
@printing
@click.pass_obj
def inspect_datum(environ: Mapping[str, str], job: str, datum: str, project: str, printer: Printer) -> None:
    """The beginning of its id is enough."""
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            found = find_job(txn, job, project=project)
        printer.one(datum_document(workspace.pps.inspect_datum(found, datum)), LINES)
