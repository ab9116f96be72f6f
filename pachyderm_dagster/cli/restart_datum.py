"""`restart datum`."""

import dataclasses
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.datums import COLUMNS, datum_document
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.executors.live import Running, find_running
from pachyderm_dagster.executors.restarting import ask_restart
from pachyderm_dagster.pps.datum_listing import DatumInfo, ShownState
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace, open_workspace

_NAMED = 3


@click.command(epilog="Example: pachctl restart datum edges@master /liberty.png")
@click.argument("job", metavar="PIPELINE@ID")
@click.argument("files", metavar="FILE[,FILE]")
@in_project
@printing
@click.pass_obj
def restart_datum(environ: Mapping[str, str], job: str, files: str, project: str, printer: Printer) -> None:
    """Kills what user code does for the datums that read all these files, by path or hash, and runs them again in the same job, with all their tries.
    Only a datum that runs can be restarted, for more than half a second and on this machine.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            found = find_job(txn, job, project=project)
        if found.state.is_terminal:
            raise StateError("job-finished", f"job '{found}' is {found.state} already; `pachctl rerun pipeline` makes another one")
        running = {one.datum.datum: one for one in find_running(workspace.settings.home, found)}
        datums = _infos(workspace, found, running)
        chosen = [datum for datum in datums if all(map(datum.details.has_read, files.split(",")))]
        asked = [datum for datum in chosen if ask_restart(running[datum.id])]
        if not asked:
            raise _not_running(found, files, datums)
        printer.many(map(datum_document, asked), COLUMNS)


def _infos(workspace: Workspace, job: Job, running: Mapping[str, Running]) -> list[DatumInfo]:
    """What is known of the datums that run."""
    if not running:
        return []
    started = {id: one.started for id, one in running.items()}
    planned = dataclasses.replace(workspace.pps.plan_of_job(job), running=started)
    return [info for id in running for info in workspace.pps.list_planned(planned, states={ShownState.STARTING}, begun=id)]


def _not_running(job: Job, files: str, datums: list[DatumInfo]) -> StateError:
    some = "; ".join(f"{datum.id[:12]} ({', '.join(datum.details.inputs)})" for datum in datums[:_NAMED])
    there = f"{len(datums)} run: {some}{'; ...' if len(datums) > _NAMED else ''}" if datums else "none of its datums runs here now"
    problem = f"no datum of job '{job}' that runs reads {files!r}; {there}; `pachctl list datum {job.pipeline.name}@{job.id}` shows how far all are"
    return StateError("datum-not-running", problem)
