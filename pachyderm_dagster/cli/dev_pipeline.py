"""`dev pipeline`: follows a folder with a pipeline file and its sources, and runs what changes."""

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from itertools import islice

import click

from pachyderm_dagster.cli.asking import refuse_in_transaction
from pachyderm_dagster.cli.failures import DONE, refuse
from pachyderm_dagster.cli.folder_watch import FolderWatch
from pachyderm_dagster.cli.following import Step, take_over
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.pipeline_claims import PipelineClaims
from pachyderm_dagster.cli.signals import interrupted_by_signal
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.cli.wait import wait_for_ends
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.datum_listing import ShownState
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.pipeline_files import find_pipeline_file
from pachyderm_dagster.workspace import Workspace, open_workspace

SHOWN_DATUMS = 3
SHOWN_LINES = 20


@click.command(epilog="Example: pachctl dev pipeline ./edges")
@click.argument("folder", type=click.Path(exists=True, file_okay=False), metavar="FOLDER")
@click.option("-f", "--file", "file", type=click.Path(), metavar="PATH", help="The pipeline file, instead of the one that is found in FOLDER.")
@in_project
@click.pass_obj
def dev_pipeline(environ: Mapping[str, str], folder: str, file: str | None, project: str) -> int:
    """At each change of the pipeline file or of a source folder it names, the pipelines get their next version, and its jobs run. Of what fails, the last
    lines are shown. Ctrl-C ends it; a job that has not ended then goes on with whoever runs jobs next.
    """
    refuse_in_transaction(environ, "what `dev pipeline` changes")
    file = os.path.abspath(file or find_pipeline_file(folder))
    try:
        with (
            interrupted_by_signal(),
            closing(open_workspace(environ, project=project)) as workspace,
            PipelineClaims(workspace.leases, workspace.database.clock) as claims,
        ):
            _follow(workspace, environ, os.path.abspath(folder), file, project, claims)
    except KeyboardInterrupt:
        click.echo("stopped")
    return DONE


def _follow(workspace: Workspace, environ: Mapping[str, str], folder: str, file: str, project: str, claims: PipelineClaims) -> None:
    """Goes on until it is interrupted. When the file names other source folders, these are watched from then on."""
    watched: frozenset[str] = frozenset()
    wanted = frozenset({folder, os.path.dirname(file)})
    said = False
    watch = FolderWatch(threading.Event(), click.echo)
    while True:
        watched = wanted
        for _ in watch.changes(watched):
            started = time.monotonic()
            step = _take_over(workspace, file, project, claims)
            if step is not None:
                wanted = step.folders | {folder, os.path.dirname(file)}
                _run(workspace, environ, step, started)
            if not said or step is None or step.made or step.unfinished:
                click.echo(f"waiting for changes of {', '.join(sorted(wanted))}; Ctrl-C ends")
                said = True
            if wanted != watched:
                break


def _take_over(workspace: Workspace, file: str, project: str, claims: PipelineClaims) -> Step | None:
    """None when the file or a folder is not good now, which is told: the next change may mend it.

    Raises:
        StateError: `dev-running`, when another process follows a pipeline of the file, and this one none yet.
    """
    try:
        return take_over(workspace, file, project, claims.take)
    except PachydermError as error:
        if error.code == "dev-running" and not claims:
            raise
        refuse(error)
        return None


def _run(workspace: Workspace, environ: Mapping[str, str], step: Step, started: float) -> None:
    for pipeline in step.made:
        click.echo(f"pipeline {pipeline.name}: version {pipeline.version}")
        if pipeline.spec.runs_on:
            click.echo(f"it runs on, and not here: `pachctl run service {pipeline.name.name}` or `pachctl dev` runs it, and follows its versions")
    if not step.unfinished:
        return
    try:
        ended = wait_for_ends(environ, step.unfinished)
    except PachydermError as error:
        refuse(error)
        return
    for job in reversed(ended):
        if job.state is not JobState.SUCCESS:
            _tell_failure(workspace, job)
    good = sum(job.state is JobState.SUCCESS for job in ended)
    click.echo(f"{good} of {len(ended)} jobs succeeded, {time.monotonic() - started:.2f} s after the change")


def _tell_failure(workspace: Workspace, job: Job) -> None:
    """Says why a job did not succeed, and what the first of its failed datums said last."""
    click.echo(f"job {job}: {job.state}: {visible(job.reason)}")
    if job.state is not JobState.FAILURE:
        return
    for datum in islice(workspace.pps.list_datum(job, states={ShownState.FAILED}), SHOWN_DATUMS):
        click.echo(f"datum {datum.id[:12]} of {', '.join(map(visible, datum.details.inputs))}:")
        for line in deque(workspace.pps.logs(job, datum=datum.id), maxlen=SHOWN_LINES):
            click.echo(f"  {visible(line.text)}")
