"""`dev pipeline`: follows a folder with a pipeline file and its sources, and runs what changes."""

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice

import click

from pachyderm_dagster.cli.asking import refuse_in_transaction
from pachyderm_dagster.cli.failures import DONE, refuse
from pachyderm_dagster.cli.follower import Follower
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.signals import interrupted_by_signal
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.cli.wait import wait_for_ends
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.datum_listing import ShownState
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.pipeline_files import find_pipeline_file
from pachyderm_dagster.worker.attempts import LINE_OF_TRY
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
            Follower(workspace, os.path.abspath(folder), file, project) as follower,
        ):
            _run_on(workspace, environ, follower)
    except KeyboardInterrupt:
        click.echo("stopped")
    return DONE


def _run_on(workspace: Workspace, environ: Mapping[str, str], follower: Follower) -> None:
    """Runs the jobs of each look, until it is interrupted."""
    told: set[int] = set()
    is_news = True
    while True:
        look = follower.next()
        unfinished = [] if look.step is None else [job for job in look.step.unfinished if job.key not in told]
        is_news = is_news or look.step is None or bool(look.step.made or unfinished)
        if unfinished:
            told.update(job.key for job in _run(workspace, environ, follower, unfinished, look.started))
        if is_news and not follower.has_more:
            click.echo(f"waiting for changes of {', '.join(sorted(look.folders))}; Ctrl-C ends")
            is_news = False


def _run(workspace: Workspace, environ: Mapping[str, str], follower: Follower, unfinished: Sequence[Job], started: float) -> Sequence[Job]:
    """Runs jobs to their end, tells how they ended, and returns them; none when that failed for another reason than theirs."""
    try:
        ended = wait_for_ends(environ, unfinished)
    except PachydermError as error:
        refuse(error)
        return []
    # What killed a job is told with the version that did.
    told = [job for job in ended if not (job.state is JobState.KILLED and follower.has_more)]
    for job in reversed(told):
        if job.state is not JobState.SUCCESS:
            _tell_failure(workspace, job)
    if told:
        good = sum(job.state is JobState.SUCCESS for job in told)
        click.echo(f"{good} of {len(told)} jobs succeeded, {time.monotonic() - started:.2f} s after the change")
    return ended


def _tell_failure(workspace: Workspace, job: Job) -> None:
    """Says why a job did not succeed, and what the first of its failed datums said last, in its last try."""
    click.echo(f"job {job}: {job.state}: {visible(job.reason)}")
    if job.state is not JobState.FAILURE:
        return
    for datum in islice(workspace.pps.list_datum(job, states={ShownState.FAILED}), SHOWN_DATUMS):
        click.echo(f"datum {datum.id[:12]} of {', '.join(map(visible, datum.details.inputs))}:")
        for line in last_try(line.text for line in workspace.pps.logs(job, datum=datum.id)):
            click.echo(f"  {visible(line)}")


def last_try(lines: Iterable[str]) -> Sequence[str]:
    """Of the output of a datum the end of its last try."""
    found: deque[str] = deque(maxlen=SHOWN_LINES)
    for line in lines:
        if LINE_OF_TRY.fullmatch(line):
            found.clear()
        else:
            found.append(line)
    return found
