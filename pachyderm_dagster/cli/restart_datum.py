"""`restart datum`."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import click

from pachyderm_dagster.cli.datums import COLUMNS, datum_document
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.executors.restarting import ask_restart
from pachyderm_dagster.executors.restarting_in_pods import find_in_pods
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.datum_listing import DatumInfo, ShownState
from pachyderm_dagster.pps.model import Job, Pipeline
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
    Only a datum that runs can be restarted: for more than half a second on this machine, or some seconds in a pod, which may be that of a service.
    """
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            found = find_job(txn, job, project=project)
            pipeline = pipelines.get_pipeline(txn, found.pipeline)
        if found.state.is_terminal:
            raise StateError("job-finished", f"job '{found}' is {found.state} already; `pachctl rerun pipeline` makes another one")
        running = _here(workspace, found) if workspace.settings.kubernetes is None else _in_pods(workspace, pipeline, found)
        datums = _infos(workspace, found, running.started)
        chosen = [datum for datum in datums if all(map(datum.details.has_read, files.split(",")))]
        asked = running.ask([datum.id for datum in chosen]) if chosen else set()
        if not asked:
            raise _not_running(found, files, datums)
        printer.many([datum_document(datum) for datum in chosen if datum.id in asked], COLUMNS)


@dataclass(frozen=True, slots=True)
class _Running:
    """The datums that run, by id when they were started, and what asks for some to be run again, which says for which of them that was heard."""

    started: Mapping[str, dt.datetime]
    ask: Callable[[list[str]], set[str]]


def _here(workspace: Workspace, job: Job) -> _Running:
    running = {one.datum.datum: one for one in find_running(workspace.settings.home, job)}
    return _Running({id: one.started for id, one in running.items()}, lambda ids: {id for id in ids if ask_restart(running[id])})


def _in_pods(workspace: Workspace, pipeline: Pipeline, job: Job) -> _Running:
    found, begun = find_in_pods(workspace, pipeline, job), job.started or workspace.database.clock.now()
    return _Running(dict.fromkeys(found.areas, begun), found.ask_restart)


def _infos(workspace: Workspace, job: Job, started: Mapping[str, dt.datetime]) -> list[DatumInfo]:
    """What is known of the datums that run."""
    if not started:
        return []
    planned = dataclasses.replace(workspace.pps.plan_of_job(job), running=started)
    return [info for id in started for info in workspace.pps.list_planned(planned, states={ShownState.STARTING}, begun=id)]


def _not_running(job: Job, files: str, datums: list[DatumInfo]) -> StateError:
    some = "; ".join(f"{datum.id[:12]} ({', '.join(datum.details.inputs)})" for datum in datums[:_NAMED])
    there = f"{len(datums)} run: {some}{'; ...' if len(datums) > _NAMED else ''}" if datums else "none of its datums runs now"
    problem = f"no datum of job '{job}' that runs reads {files!r}; {there}; `pachctl list datum {job.pipeline.name}@{job.id}` shows how far all are"
    return StateError("datum-not-running", problem)
