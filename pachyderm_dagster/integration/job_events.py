"""What Dagster is told of a job that ended: metadata of its output, tags of its provenance, why it failed."""

import itertools
from collections.abc import Mapping

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.integration.shown_files import Metadata
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pps.datum_listing import DatumInfo, ShownState
from pachyderm_dagster.pps.model import Counters, Job
from pachyderm_dagster.workspace import Workspace

LISTED_FAILURES = 20
SLOWEST_DATUMS = 10
COMPARED_DATUMS = 1000
SHOWN_CHARACTERS = 500


def output_metadata(workspace: Workspace, job: Job, commit: Commit, consumed: Mapping[BranchName, Commit]) -> Metadata:
    """Metadata of the materialization that a successful job is."""
    known = {**shown_commit(workspace, commit), **_job(job), labels.INPUTS: inputs_table(consumed), **counter_metadata(job)}
    try:
        return {**known, **_slowest(workspace, job)}
    except PachydermError as error:
        # The job is done; that what it left cannot be read now is no reason to call it a failure.
        return {**known, labels.UNREADABLE: dg.MetadataValue.text(str(error))}


def counter_metadata(job: Job) -> Metadata:
    """The job's counters and times as numbers, which Dagster plots over its runs."""
    counters = job.counters
    found: dict[str, int | float] = {
        labels.DATUMS_TOTAL: counters.data_total,
        labels.DATUMS_PROCESSED: counters.data_processed,
        labels.DATUMS_SKIPPED: counters.data_skipped,
        labels.DATUMS_FAILED: counters.data_failed,
        labels.DATUMS_RECOVERED: counters.data_recovered,
        labels.DOWNLOAD_BYTES: counters.download_bytes,
        labels.UPLOAD_BYTES: counters.upload_bytes,
        labels.PROCESS_SECONDS: round(counters.process_seconds, 3),
    }
    if job.started is not None and job.finished is not None:
        found[labels.SECONDS] = round((job.finished - job.started).total_seconds(), 3)
    return {name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value) for name, value in found.items()}


def failure_metadata(workspace: Workspace, job: Job) -> Metadata:
    """Why a job did not succeed, with the files of datums that failed."""
    found: Metadata = {**_job(job), labels.REASON: dg.MetadataValue.text(job.reason), **counter_metadata(job)}
    return {**found, **_datums(workspace, job, ShownState.FAILED, job.counters.data_failed, labels.FAILED_DATUMS)}


def recovery_metadata(workspace: Workspace, job: Job) -> Metadata:
    """The files of datums that have no output since their `err_cmd` recovered them, and why they failed; empty when there are none."""
    if not job.counters.data_recovered:
        return {}
    return {**_job(job), **_datums(workspace, job, ShownState.RECOVERED, job.counters.data_recovered, labels.RECOVERED_DATUMS)}


def _datums(workspace: Workspace, job: Job, state: ShownState, count: int, label: str) -> Metadata:
    """A table of so many datums in a state, with their files and why they are in it."""
    if not count:
        return {}
    records = [
        dg.TableRecord({"datum": info.id[:12], "files": ", ".join(info.details.inputs), "reason": info.details.reason})
        for info in itertools.islice(workspace.pps.list_datum(job, states={state}), min(LISTED_FAILURES, count))
    ]
    return {label: dg.MetadataValue.table(records, schema=_text_columns("datum", "files", "reason"))} if records else {}


def describe_progress(counters: Counters) -> str:
    """A line for the run's log: `12/30 datums: 2 processed, 10 skipped`."""
    named = {
        "processed": counters.data_processed,
        "skipped": counters.data_skipped,
        "failed": counters.data_failed,
        "recovered": counters.data_recovered,
    }
    shown = ", ".join(f"{number} {name}" for name, number in named.items() if number)
    return f"{sum(named.values())}/{counters.data_total} datums" + (f": {shown}" if shown else "")


def _job(job: Job) -> Metadata:
    """Its name, how to ask for more, and the run that did it, which the UI links to."""
    found: Metadata = {
        labels.JOB: dg.MetadataValue.text(str(job)),
        labels.COMMANDS: dg.MetadataValue.md(f"`pachctl inspect job {job}`, `pachctl list datum {job}`, `pachctl logs {job}`"),
    }
    return found if job.run_id is None else {**found, labels.RUN: dg.MetadataValue.dagster_run(job.run_id)}


def inputs_table(consumed: Mapping[BranchName, Commit]) -> dg.MetadataValue:
    """The commits that something was made from."""
    records = [
        dg.TableRecord({"branch": str(branch), "commit": commit.id, "bytes": commit.size_bytes, "message": commit.description})
        for branch, commit in sorted(consumed.items())
    ]
    columns = [dg.TableColumn("branch"), dg.TableColumn("commit"), dg.TableColumn("bytes", "int"), dg.TableColumn("message")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _slowest(workspace: Workspace, job: Job) -> Metadata:
    """The datums that the job itself ran and that took longest. Among a thousand at most, which are as good as drawn by lot: their ids are hashes."""
    ran = itertools.islice(workspace.pps.sample_ran(job), COMPARED_DATUMS)
    slowest = sorted(ran, key=lambda datum: datum.details.process_seconds, reverse=True)[:SLOWEST_DATUMS]
    records = [dg.TableRecord(_datum_row(datum)) for datum in slowest]
    columns = [
        dg.TableColumn(name, kind) for name, kind in (("datum", "string"), ("files", "string"), ("seconds", "float"), ("state", "string"), ("bytes", "int"))
    ]
    return {labels.SLOWEST_DATUMS: dg.MetadataValue.table(records, schema=dg.TableSchema(columns))} if records else {}


def _datum_row(datum: DatumInfo) -> dict[str, str | float | int]:
    details = datum.details
    return {
        "datum": datum.id[:12],
        "files": _shortened(", ".join(details.inputs)),
        "seconds": round(details.process_seconds, 3),
        "state": str(datum.state),
        "bytes": details.download_bytes,
    }


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _text_columns(*names: str) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name) for name in names])
