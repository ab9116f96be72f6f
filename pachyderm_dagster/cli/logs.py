"""`logs`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.job_names import find_jobs
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Form, to_json, to_yaml
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.client import LogLine
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace, open_workspace

POLL_SECONDS = 0.5


@click.command(epilog="Example: pachctl logs -j edges@master")
@click.option("-p", "--pipeline", help="Of all jobs of this pipeline.")
@click.option("-j", "--job", metavar="PIPELINE@ID|ID", help="Of this job, or of every job of a set.")
@click.option("--datum", metavar="ID", help="Of this datum only; the beginning of its id is enough.")
@click.option("--inputs", metavar="PATH[,PATH]", help="Of the datums that read one of these files.")
@click.option("-t", "--tail", type=COUNT, metavar="N", help="The last N lines only.")
@click.option("-f", "--follow", is_flag=True, help="Go on with the jobs that end from now on, until Ctrl-C; of one job, until it has ended.")
@click.option("-o", "--output", "form", type=click.Choice([form.value for form in Form]), help="json: one document a line; yaml: the same, to read.")
@click.option("--raw", is_flag=True, help="The same as --output json.")
@click.option("--master", is_flag=True, hidden=True, expose_value=False)
@in_project
@click.pass_obj
def logs(
    environ: Mapping[str, str],
    pipeline: str | None,
    job: str | None,
    datum: str | None,
    inputs: str | None,
    tail: int | None,
    follow: bool,
    form: str | None,
    raw: bool,
    project: str,
) -> None:
    """Both of its streams, line by line, of the datums that a job ran itself, the oldest job first. The lines of a job come when it has ended, and are kept
    as long as the job is.
    """
    if (pipeline is None) is (job is None):
        raise click.UsageError("name a pipeline (-p) or a job (-j)", click.get_current_context())
    wanted = Form(form or (Form.JSON if raw else Form.TABLE))
    files = tuple(inputs.split(",")) if inputs else ()
    with closing(open_workspace(environ, project=project)) as workspace:
        found = _Logs(workspace, project, pipeline, job)
        lines: Iterator[LogLine] = (line for line in found.lines(datum, follow=follow) if not files or any(_names(path, line) for path in files))
        for line in lines if tail is None else list(lines)[-tail:]:
            if wanted is Form.TABLE:
                click.echo(line.text)
            else:
                click.echo(to_yaml(_document(line)) if wanted is Form.YAML else to_json(_document(line)))


class _Logs:
    """What the jobs of a pipeline or a set, or one job, printed."""

    def __init__(self, workspace: Workspace, project: str, pipeline: str | None, job: str | None) -> None:
        self._workspace, self._project, self._pipeline, self._job = workspace, project, pipeline, job

    def lines(self, datum: str | None, *, follow: bool) -> Iterator[LogLine]:
        """Line by line, the oldest job first."""
        told: set[int] = set()
        while True:
            found = self._jobs()
            for job in found:
                if job.key not in told and (job.state.is_terminal or not follow):
                    told.add(job.key)
                    if self._job is not None and not job.state.is_terminal:
                        click.echo(f"note: job {job} is {job.state}; its lines come when it has ended, and -f waits for that", err=True)
                    yield from self._workspace.pps.logs(job, datum=datum)
            if not follow or (self._job is not None and len(told) == len(found)):
                return
            time.sleep(POLL_SECONDS)

    def _jobs(self) -> list[Job]:
        with self._workspace.database.read() as txn:
            if self._job is not None:
                return find_jobs(txn, self._job, project=self._project)[::-1]
            assert self._pipeline is not None
            name = pipelines.get_pipeline(txn, parse_repo(self._pipeline, project=self._project)).name
            return jobs.list_job(txn, pipeline=name)[::-1]


def _names(path: str, line: LogLine) -> bool:
    """Whether the line's datum read `path`, or what lies in it."""
    wanted = path if path.startswith("/") else f"/{path}"
    read = [file.partition(":")[2] for file in line.inputs]
    return any(name == wanted or name.startswith(f"{wanted.rstrip('/')}/") for name in read)


def _document(line: LogLine) -> Fields:
    return {
        "pipeline": line.job.pipeline.name,
        "project": line.job.pipeline.project,
        "job": str(line.job),
        "datum": line.datum,
        "inputs": list(line.inputs),
        "message": line.text,
    }
