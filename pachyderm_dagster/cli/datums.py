"""The commands that look at datums."""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.job_names import find_job
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Column, Printer, listed, optional, printing, size, text, time
from pachyderm_dagster.cli.source_folders import SourceFolders, only_spec
from pachyderm_dagster.cli.spec_files import read_text
from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.datum_listing import DatumInfo, PlannedDatums, ShownState
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.planning import source_key
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.workspace import Workspace, open_workspace

# As the meta repo calls what people know as SUCCESS.
STORED_SUCCESS = "PROCESSED"
STATES = (*(state.value for state in ShownState), STORED_SUCCESS)
COLUMNS = (
    Column("ID", text("id")),
    Column("FILES", listed("files")),
    Column("STATUS", text("state")),
    Column("TIME", lambda document, _: _time(document["process_seconds"])),
    Column("STARTED", time("started")),
)
LINES = (
    Column("ID", text("id")),
    Column("Job", text("job")),
    Column("State", text("state")),
    Column("Reason", optional("reason")),
    Column("Ran in job", optional("ran_in")),
    Column("Started", time("started")),
    Column("Tries", text("tries")),
    Column("Data downloaded", size("download_bytes")),
    Column("Data uploaded", size("upload_bytes")),
    Column("Download time", lambda document, _: _time(document["download_seconds"])),
    Column("Process time", lambda document, _: _time(document["process_seconds"])),
    Column("Upload time", lambda document, _: _time(document["upload_seconds"])),
    Column("Files", listed("files")),
    Column("Meta", lambda document, _: ", ".join(document["meta"])),
)


def datum_document(datum: DatumInfo) -> Fields:
    """A datum; seconds and bytes are those of the job that ran it."""
    details = datum.details
    return {
        "id": datum.id,
        "job": None if datum.job is None else str(datum.job),
        "state": datum.state,
        "files": list(details.inputs),
        "reason": details.reason,
        "ran_in": datum.ran_in,
        "started": datum.started,
        "tries": details.tries,
        "exit_code": details.exit_code,
        "download_seconds": details.download_seconds,
        "process_seconds": details.process_seconds,
        "upload_seconds": details.upload_seconds,
        "download_bytes": details.download_bytes,
        "upload_bytes": details.upload_bytes,
    }


@click.command(epilog="Example: pachctl list datum edges@master --state failed")
@click.argument("job", metavar="[PIPELINE@ID]", required=False)
@click.option("-f", "--file", "source", metavar="PATH|URL|-", help="Instead of a job's: the datums that the pipeline of this file would have now.")
@click.option("-p", "--pipeline", help="Instead of a job's: the datums that this pipeline would have now.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False), help="Only datums in this state; may be repeated.")
@click.option("--inputs", metavar="FILE[,FILE]", help="Only datums that read one of these files, by path or hash.")
@click.option("-n", "--number", type=COUNT, metavar="N", help="At most so many.")
@in_project
@printing
@click.pass_obj
def list_datum(
    environ: Mapping[str, str],
    job: str | None,
    source: str | None,
    pipeline: str | None,
    states: tuple[str, ...],
    inputs: str | None,
    number: int | None,
    project: str,
    printer: Printer,
) -> None:
    """By id. PIPELINE@BRANCH is the job that made the branch's head. While a job runs, datums that run or wait are STARTING, with the time when they were
    started, and those that ended are there within ten seconds.

    With -f or -p nothing runs: SKIPPED are the datums that have a result already, UNKNOWN those that would run.
    """
    if sum(given is not None for given in (job, source, pipeline)) != 1:
        raise click.UsageError("name a job (PIPELINE@ID), a pipeline file (-f) or a pipeline (-p)", click.get_current_context())
    given = None if source is None else read_text(source)
    spec = None if given is None else only_spec(environ, given, SourceFolders.of(given), project)
    wanted = {ShownState.SUCCESS if state == STORED_SUCCESS else ShownState(state) for state in states}
    with closing(open_workspace(environ, project=project)) as workspace:
        if job is not None:
            found = _find(workspace, job, project)
            datums = workspace.pps.list_datum(found, states=wanted, running=_running(workspace, found))
        else:
            datums = workspace.pps.list_planned(_plan(workspace, spec, pipeline or "", project), states=wanted)
        printer.many(map(datum_document, itertools.islice(_reading(datums, inputs), number)), COLUMNS)


@click.command(epilog="Example: pachctl inspect datum edges@master 5f2c")
@click.argument("job", metavar="PIPELINE@ID")
@click.argument("datum", metavar="DATUM")
@in_project
@printing
@click.pass_obj
def inspect_datum(environ: Mapping[str, str], job: str, datum: str, project: str, printer: Printer) -> None:
    """The beginning of its id is enough. `meta` are the places in the meta repo where all of it is: what it read, wrote, took and said."""
    with closing(open_workspace(environ, project=project)) as workspace:
        found = _find(workspace, job, project)
        one = workspace.pps.inspect_datum(found, datum, running=_running(workspace, found))
        at = f"{found.pipeline}.meta@{found.id}"
        places = [f"{at}:/meta/{one.id}", f"{at}:/pfs/{one.id}"] if found.state.is_terminal else []
        printer.one({**datum_document(one), "meta": places}, LINES)


def _find(workspace: Workspace, job: str, project: str) -> Job:
    with workspace.database.read() as txn:
        return find_job(txn, job, project=project)


def _running(workspace: Workspace, job: Job) -> dict[str, dt.datetime]:
    return {one.datum.datum: one.started for one in find_running(workspace.settings.home, job)}


def _plan(workspace: Workspace, spec: PipelineSpec | None, pipeline: str, project: str) -> PlannedDatums:
    """Of a pipeline that need not exist, or of one by its name. A branch without a commit may be one that is misspelt: it is said."""
    if spec is None:
        with workspace.database.read() as txn:
            found = pipelines.get_pipeline(txn, parse_repo(pipeline, project=project))
        spec, project = found.spec, found.name.project
    planned = workspace.pps.plan_datum(spec, project=project)
    for leaf in leaves(spec.input):
        if source_key(leaf) not in planned.sources:
            click.echo(f"note: input '{leaf.name}' has no files: branch '{leaf.repo}@{leaf.branch}' has no finished commit without an error", err=True)
    return planned


def _reading(datums: Iterable[DatumInfo], inputs: str | None) -> Iterator[DatumInfo]:
    files = inputs.split(",") if inputs else []
    return (datum for datum in datums if not files or any(map(datum.details.has_read, files)))


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s"
