"""The commands for jobs that only need the record."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import Fields, document_of, job_document, job_inspection
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.job_names import find_jobs
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.numbers import versions_back
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Column, Document, Printer, Times, optional, printing, shorten, show_duration, show_size, size, text, time, to_json
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import references, repos
from pachyderm_dagster.pfs.model import RepoName, is_commit_id
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pfs.subvenance import walk_commits
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.requests import StopJob
from pachyderm_dagster.settings import load_settings


def show_progress(document: Document) -> str:
    """`processed + skipped / total`, with the recovered ones when there are any."""
    done = [document["data_processed"], document["data_skipped"], *filter(None, [document["data_recovered"]])]
    return f"{' + '.join(map(str, done))} / {document['data_total']}"


def _duration(document: Document, times: Times) -> str:
    if document["started"] is None:
        return "-"
    return show_duration(((document["finished"] or times.now) - document["started"]).total_seconds())


def _state(document: Document, _: Times) -> str:
    return shorten(f"{document['state']}: {document['reason']}") if document["reason"] else str(document["state"])


def _egress(document: Document) -> str:
    done = document["egress"]
    if done is None:
        return ""
    tables = "".join(f", {rows:,} rows in {table}" for table, rows in (done["rows"] or {}).items())
    return f"{done['files']:,} files, {show_size(done['bytes'])}{tables}, try {done['tries']}"


COLUMNS = (
    Column("PROJECT", text("project")),
    Column("PIPELINE", text("pipeline")),
    Column("ID", text("id")),
    Column("STARTED", time("started")),
    Column("DURATION", _duration),
    Column("RESTART", text("restarts")),
    Column("PROGRESS", lambda document, _: show_progress(document)),
    Column("DL", size("download_bytes")),
    Column("UL", size("upload_bytes")),
    Column("STATE", _state),
)
SET_COLUMNS = (
    Column("ID", text("id")),
    Column("SUBJOBS", text("total")),
    Column("PROGRESS", lambda document, _: f"{document['finished']} / {document['total']}" + (f", {document['failed']} failed" if document["failed"] else "")),
    Column("CREATED", time("created")),
    Column("MODIFIED", time("modified")),
)
LINES = (
    Column("ID", text("id")),
    Column("Pipeline", lambda document, _: f"{document['pipeline']} (version {document['version']})"),
    Column("Project", text("project")),
    Column("Created", time("created")),
    Column("Started", time("started")),
    Column("Finished", time("finished")),
    Column("Duration", _duration),
    Column("State", text("state")),
    Column("Reason", optional("reason")),
    Column("Processed", text("data_processed")),
    Column("Failed", text("data_failed")),
    Column("Skipped", text("data_skipped")),
    Column("Recovered", text("data_recovered")),
    Column("Total", text("data_total")),
    Column("Data downloaded", size("download_bytes")),
    Column("Data uploaded", size("upload_bytes")),
    Column("Download time", lambda document, _: f"{document['download_seconds']:.3f} s"),
    Column("Process time", lambda document, _: f"{document['process_seconds']:.3f} s"),
    Column("Upload time", lambda document, _: f"{document['upload_seconds']:.3f} s"),
    Column("Egress", lambda document, _: _egress(document)),
    Column("Restarts", text("restarts")),
    Column("Dagster run", optional("run_id")),
    Column("Running", lambda document, times: ", ".join(f"{one['datum'][:12]} ({times.show(one['started'])})" for one in document["running"])),
    Column("Waits for", lambda document, _: ", ".join(document["waits_for"])),
    Column("Datum timeout", optional("datum_timeout")),
    Column("Job timeout", optional("job_timeout")),
    Column("Parallelism", text("parallelism")),
    Column("Input", lambda document, _: to_json(document["input"])),
    Column("Transform", lambda document, _: to_json(document["transform"])),
    Column("Output commit", text("output_commit")),
)


@click.command(epilog="Example: pachctl list job -p edges")
@click.argument("set_id", metavar="[ID]", required=False)
@click.option("-p", "--pipeline", help="Only the jobs of this pipeline.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in JobState], case_sensitive=False),
    help="Only jobs in this state; may be repeated.",
)
@click.option(
    "-i", "--input", "inputs", multiple=True, metavar="REPO@REF", help="Only jobs that read this commit; may be repeated, for jobs that read them all."
)
@click.option(
    "--history",
    callback=versions_back,
    metavar="N|all",
    help="Only jobs of their pipeline's newest version and of N before; all, as without it: of all.",
)
@click.option("-n", "--number", type=COUNT, metavar="N", help="At most so many, the newest.")
@click.option("-x", "--expand", is_flag=True, help="Where the table has a line a job set: one a job.")
@click.option("-A", "--all-projects", is_flag=True, help="The jobs of every project.")
@in_project
@printing
@click.pass_obj
def list_job(
    environ: Mapping[str, str],
    set_id: str | None,
    pipeline: str | None,
    states: tuple[str, ...],
    inputs: tuple[str, ...],
    history: int | None,
    number: int | None,
    expand: bool,
    all_projects: bool,
    project: str,
    printer: Printer,
) -> None:
    """The newest comes first. When nothing says which jobs, the table has one line a job set, that is, for all jobs that one change started; -x makes it one
    line a job. With -p, an ID, --state, -i or --history it is one line a job, and as JSON always one document a job. -n counts what is shown.
    """
    if set_id is not None and not is_commit_id(set_id):
        raise click.UsageError(f"'{set_id}' is not the id of a job set; write `list job -p PIPELINE` for the jobs of a pipeline", click.get_current_context())
    with reading(environ) as txn:
        name = None if pipeline is None else pipelines.get_pipeline(txn, parse_repo(pipeline, project=project)).name
        repos.ensure_project(txn, project)
        inside = None if all_projects or name is not None or set_id is not None else project
        found = jobs.list_job(txn, project=inside, pipeline=name, set_id=set_id)
        wanted = [_readers(txn, commit, project) for commit in inputs]
        oldest = None if history is None else _oldest_versions(txn, history)
    chosen: Iterable[Job] = (
        job
        for job in found
        if (not states or job.state in states) and all(job.output_commit in one for one in wanted) and (oldest is None or job.version >= oldest[job.pipeline])
    )
    # A set has jobs in other states than the wanted ones.
    chooses = pipeline is not None or set_id is not None or states or inputs or history is not None
    if not chooses and not expand and not printer.for_programs:
        printer.many(itertools.islice(_set_documents(chosen), number), SET_COLUMNS)
    else:
        printer.many(itertools.islice(map(job_document, chosen), number), COLUMNS)


@click.command(epilog="Example: pachctl inspect job edges@master")
@click.argument("job", metavar="PIPELINE@ID|ID")
@click.option("-b", "--wait", "--block", "wait", is_flag=True, help="When it is finished, as `wait job` waits for it; its exit status says nothing.")
@click.option("-x", "--expand", is_flag=True, help="Of a set: all of each job, instead of one line a job.")
@in_project
@printing
@click.pass_obj
def inspect_job(environ: Mapping[str, str], job: str, wait: bool, expand: bool, project: str, printer: Printer) -> None:
    """PIPELINE@BRANCH is the job that made the branch's head. An id alone shows every job of the set. `running` are the datums that run now for more than half
    a second, on this machine.
    """
    if wait:
        load("pachyderm_dagster.cli.wait:wait_for_jobs")(environ, job, project=project)
    with reading(environ) as txn:
        found = find_jobs(txn, job, project=project)
        documents = [{**job_inspection(txn, one), "running": _running(environ, one)} for one in found]
    if is_commit_id(job) and len(documents) > 1 and not expand:
        printer.many(documents, COLUMNS)
    else:
        for at, document in enumerate(documents):
            if at and not printer.for_programs:
                click.echo()
            printer.one(document, LINES)


def _running(environ: Mapping[str, str], job: Job) -> list[Fields]:
    return [{"datum": one.datum.datum, "started": one.started} for one in find_running(load_settings(environ).home, job)]


@click.command(epilog="Example: pachctl stop job edges@master")
@click.argument("job", metavar="PIPELINE@ID|ID")
@in_project
@printing
@click.pass_obj
def stop_job(environ: Mapping[str, str], job: str, project: str, printer: Printer) -> None:
    """Its output commit ends with an error. An id alone stops every unfinished job of the set."""
    with reading(environ) as txn:
        found = find_jobs(txn, job, project=project)
    request = StopJob(found[0].id, found[0].pipeline) if len(found) == 1 else StopJob(found[0].id)
    printer.only_documents(*map(document_of, ask(environ, request)))
    tend(environ)


@click.command(epilog="Example: pachctl delete job edges@master^")
@click.argument("job", metavar="PIPELINE@ID|ID")
@in_project
@printing
@click.pass_obj
def delete_job(environ: Mapping[str, str], job: str, project: str, printer: Printer) -> None:
    """An unfinished one is stopped first. Its output commit stays."""

    def change(txn: Transaction) -> list[Job]:
        found = find_jobs(txn, job, project=project)
        for one in found:
            jobs.delete(txn, one)
        return found

    printer.only_documents(*map(job_document, writing(environ, change)))
    tend(environ)


def _readers(txn: Transaction, commit: str, project: str) -> set[int]:
    """The rows of the commits that were made from a commit, in one step."""
    row = references.find_commit(txn, parse_reference(commit, project=project))
    return {made.key for made in walk_commits(txn, row, downwards=True, depth=1)}


def _oldest_versions(txn: Transaction, history: int) -> dict[RepoName, int]:
    """By pipeline the oldest version whose jobs count: the newest one, and as many before it as `history` says."""
    return {pipeline.name: 0 if history < 0 else pipeline.version - history for pipeline in pipelines.list_pipeline(txn)}


def _set_documents(found: Iterable[Job]) -> Iterator[Fields]:
    """The job sets of jobs, in the order of their newest member."""
    sets: dict[str, list[Job]] = {}
    for job in found:
        sets.setdefault(job.id, []).append(job)
    for set_id, members in sets.items():
        ended = [job for job in members if job.state.is_terminal]
        times = [moment for job in members for moment in (job.created, job.started, job.finished) if moment is not None]
        failed = sum(job.state is not JobState.SUCCESS for job in ended)
        yield {"id": set_id, "total": len(members), "finished": len(ended), "failed": failed, "created": min(times), "modified": max(times)}
