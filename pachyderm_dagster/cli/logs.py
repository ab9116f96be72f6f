"""`logs`."""

import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.job_names import find_jobs
from pachyderm_dagster.cli.kept_logs import KeptLogs, kept_logs
from pachyderm_dagster.cli.options import COUNT, gone_option, in_project
from pachyderm_dagster.cli.printing import Form, rfc3339, to_json, to_yaml
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.datum_listing import PlannedDatums
from pachyderm_dagster.pps.log_lines import LogLine, cut_lines
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.results import DatumDetails
from pachyderm_dagster.storage.trees import TreeRoot
from pachyderm_dagster.workspace import Workspace, open_workspace

POLL_SECONDS = 0.5
_ONLY_USER_CODE = "there are no lines but those of user code; `pachctl inspect job` says why a job failed, and its run is in the UI of `pachyderm-dagster dev`"


@click.command(epilog="Example: pachctl logs -j edges@master")
@click.option("-p", "--pipeline", help="Of all jobs of this pipeline.")
@click.option("-j", "--job", metavar="PIPELINE@ID|ID", help="Of this job, or of every job of a set.")
@click.option("--datum", metavar="ID", help="Of this datum only; the beginning of its id is enough.")
@click.option("--inputs", metavar="FILE[,FILE]", help="Of the datums that read one of these files, by path or hash.")
@click.option("-t", "--tail", type=COUNT, metavar="N", help="The last N lines only; with -f, and then what comes.")
@click.option("--since", metavar="TIME", help="Only lines not older than this: 90s, 5m, 24h.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed from now on, until Ctrl-C; of one job, until it has ended.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("-o", "--output", "form", type=click.Choice([form.value for form in Form]), help="json: one document a line; yaml: the same, to read.")
@click.option("--raw", is_flag=True, help="The same as --output json.")
@gone_option("--master", is_flag=True, instead=_ONLY_USER_CODE)
@gone_option("--worker", is_flag=True, instead=_ONLY_USER_CODE)
@in_project
@click.pass_obj
def logs(
    environ: Mapping[str, str],
    pipeline: str | None,
    job: str | None,
    datum: str | None,
    inputs: str | None,
    tail: int | None,
    since: str | None,
    follow: bool,
    timestamps: bool,
    form: str | None,
    raw: bool,
    project: str,
) -> None:
    """Both of its streams, line by line, of the datums that a job ran itself: the oldest job first, its datums interleaved as they printed. Of a job that runs:
    what its datums have printed so far, on the machine where they run; of those that end within half a second, once the job has written that down, at most
    ten seconds later. Lines are kept as long as the job is; of a service or spout the last ones, 8 to 16 MiB of them.
    """
    if (pipeline is None) is (job is None):
        raise click.UsageError("name a pipeline (-p) or a job (-j)", click.get_current_context())
    wanted = Form(form or (Form.JSON if raw else Form.TABLE))
    with closing(open_workspace(environ, project=project)) as workspace:
        oldest = None if since is None else workspace.database.clock.now() - dt.timedelta(seconds=parse_given_duration(since))
        files = tuple(inputs.split(",")) if inputs else ()
        with_details = bool(files) or wanted is not Form.TABLE
        kept = KeptLogs(()) if datum else kept_logs(workspace, project, pipeline, job)
        found = _Logs(workspace, _jobs(workspace, project, pipeline, job), kept, datum or "", oldest, ends=job is not None, with_details=with_details)
        lines = _chosen(found.so_far(), files, oldest)
        for line in lines if tail is None else deque(lines, maxlen=tail):
            _show(line, wanted, timestamps=timestamps)
        for one in found.interrupted():
            click.echo(f"note: job {one}: {visible(one.reason)}", err=True)
        if follow:
            for line in _chosen(found.following(), files, oldest):
                _show(line, wanted, timestamps=timestamps)


def _chosen(lines: Iterable[LogLine], files: tuple[str, ...], oldest: dt.datetime | None) -> Iterator[LogLine]:
    for line in lines:
        if (oldest is None or line.time >= oldest) and (not files or any(map(line.details.has_read, files))):
            yield line


def _jobs(workspace: Workspace, project: str, pipeline: str | None, job: str | None) -> Callable[[], list[Job]]:
    def find() -> list[Job]:
        with workspace.database.read() as txn:
            if job is not None:
                return find_jobs(txn, job, project=project)[::-1]
            name = pipelines.get_pipeline(txn, parse_repo(pipeline or "", project=project)).name
            return jobs.list_job(txn, pipeline=name)[::-1]

    return find


class _Logs:
    """What jobs printed, and how much of it was told.

    Args:
        find: the jobs, the oldest first.
        kept: what services and spouts printed.
        ends: whether following ends when all of them have ended.
        with_details: whether anybody wants to know what datums that run read, for which a job has to be planned again.
    """

    def __init__(
        self,
        workspace: Workspace,
        find: Callable[[], list[Job]],
        kept: KeptLogs,
        datum: str,
        oldest: dt.datetime | None,
        *,
        ends: bool,
        with_details: bool,
    ) -> None:
        self._workspace, self._find, self._datum, self._oldest, self._ends = workspace, find, datum, oldest, ends
        self._kept = kept
        self._with_details = with_details
        self._over: set[int] = set()
        self._told: dict[int, TreeRoot] = {}
        self._plans: dict[int, PlannedDatums] = {}
        self._details: dict[tuple[int, str], DatumDetails] = {}
        self._bytes: dict[str, int] = {}
        """Of datums that were told of while they ran, how much was."""

    def so_far(self) -> Iterator[LogLine]:
        """All that was printed until now."""
        for job in self._find():
            yield from self._of(job)
        yield from self._kept.more()

    def interrupted(self) -> list[Job]:
        """The unfinished jobs at which an attempt ended without ending them."""
        return [job for job in self._find() if job.reason and not job.state.is_terminal]

    def following(self) -> Iterator[LogLine]:
        """What is printed from now on."""
        while True:
            found = self._find()
            for job in found:
                if job.key not in self._over:
                    yield from self._of(job)
            yield from self._kept.more()
            if self._ends and all(job.key in self._over for job in found):
                return
            time.sleep(POLL_SECONDS)

    def _of(self, job: Job) -> Iterator[LogLine]:
        """What a job printed since it was looked at last."""
        if job.state.is_terminal:
            self._over.add(job.key)
            if self._oldest is not None and job.finished is not None and job.finished < self._oldest:
                return
        pps = self._workspace.pps
        # No newer one is told of than is noted, or what ends in between would be told twice.
        root, before = pps.said(job), self._told.get(job.key)
        if before is None or root.id != before.id:
            yield from pps.logs(job, datum=self._datum, root=root, after=before, told=self._bytes)
            self._told[job.key] = root
        yield from self._live(job)

    def _live(self, job: Job) -> Iterator[LogLine]:
        """Whole lines of the datums that run now."""
        for running in find_running(self._workspace.settings.home, job):
            id = running.datum.datum
            told = self._bytes.get(id, 0)
            text = running.output(told)
            text = text[: text.rfind(b"\n") + 1]
            if text and id.startswith(self._datum):
                details = self._details_of(job, id)
                for line, now, end in cut_lines(text, self._workspace.database.clock.now(), ()):
                    self._bytes[id] = told + end
                    yield LogLine(job.pipeline, str(job), id, details, line, now, told + end)

    def _details_of(self, job: Job, datum: str) -> DatumDetails:
        """What is known of a datum that runs; nothing when the job is over by now, or nobody wants to know."""
        if not self._with_details:
            return DatumDetails(inputs=())
        key = job.key, datum
        if key not in self._details:
            pps = self._workspace.pps
            if job.key not in self._plans:
                self._plans[job.key] = pps.plan_of_job(job)
            found = next(pps.list_planned(self._plans[job.key], begun=datum), None)
            self._details[key] = DatumDetails(inputs=()) if found is None else DatumDetails(inputs=found.details.inputs, reads=found.details.reads)
        return self._details[key]


def _show(line: LogLine, form: Form, *, timestamps: bool) -> None:
    if form is Form.TABLE:
        click.echo(f"{rfc3339(line.time)} {line.text}" if timestamps else line.text)
    else:
        click.echo(to_yaml(_document(line)) if form is Form.YAML else to_json(_document(line)))


def _document(line: LogLine) -> Fields:
    return {
        "pipeline": line.pipeline.name,
        "project": line.pipeline.project,
        "job": line.job or None,
        "datum": line.datum or None,
        "inputs": list(line.details.inputs),
        "ts": line.time,
        "message": line.text,
    }
