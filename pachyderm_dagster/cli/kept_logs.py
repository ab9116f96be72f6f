"""What services and spouts printed, from the logs that are kept of them: in the home, or in the store where they run in pods."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pachyderm_dagster.cli.job_names import find_jobs
from pachyderm_dagster.executors.kept_processes import process_folder
from pachyderm_dagster.executors.kubernetes.names import kept_name
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.log_lines import LogLine
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.results import DatumDetails
from pachyderm_dagster.worker.kept_log import KeptLines
from pachyderm_dagster.worker.stored_log import StoredLines, log_area
from pachyderm_dagster.workspace import Workspace

_NO_DETAILS = DatumDetails(inputs=())


@dataclass(frozen=True, slots=True)
class _Source:
    """The kept log of a pipeline, and the one job whose lines are wanted; None for all of them."""

    pipeline: RepoName
    lines: KeptLines | StoredLines
    job: str | None


class KeptLogs:
    """The lines of some pipelines, each given once; none of pipelines that are transformations."""

    def __init__(self, sources: Sequence[_Source]) -> None:
        self._sources = sources

    def more(self) -> Iterator[LogLine]:
        """The lines that came since the call before."""
        for source in self._sources:
            for line in source.lines.more():
                if source.job is None or line.job == source.job:
                    job = f"{source.pipeline}@{line.job}" if line.job else ""
                    yield LogLine(source.pipeline, job, "", _NO_DETAILS, line.text, dt.datetime.fromtimestamp(line.time, dt.UTC), 0)


def kept_logs(workspace: Workspace, project: str, pipeline: str | None, job: str | None) -> KeptLogs:
    """The kept logs of a pipeline, or those that tell of a job or of a set's jobs. Errors as `find_jobs`."""
    with workspace.database.read() as txn:
        wanted = (
            [(one.pipeline, one.id) for one in find_jobs(txn, job, project=project)]
            if job is not None
            else [(parse_repo(pipeline or "", project=project), None)]
        )
        found = [(pipelines.get_pipeline(txn, name), id) for name, id in wanted]
    return KeptLogs([_Source(one.name, _lines(workspace, one), id) for one, id in found])


def _lines(workspace: Workspace, pipeline: Pipeline) -> KeptLines | StoredLines:
    if workspace.settings.kubernetes is not None and pipeline.spec.runs_on:
        return StoredLines(workspace.store, log_area(kept_name(pipeline.name)))
    return KeptLines(process_folder(workspace.settings.home, pipeline.key))
