"""The commands for pipelines that need no content: look, start, stop, run again, delete."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import document_of, pipeline_document, pipeline_inspection, user_text
from pachyderm_dagster.cli.home import opened, reading
from pachyderm_dagster.cli.kept_state import as_kept
from pachyderm_dagster.cli.numbers import ALL, number_of_versions
from pachyderm_dagster.cli.options import force, gone_option, in_project, only_one
from pachyderm_dagster.cli.pod_state import show_workers, workers_documents
from pachyderm_dagster.cli.printing import Column, Document, Printer, brief, optional, printing, shorten, text, time, to_json
from pachyderm_dagster.cli.process_state import process_document, show_process
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.alerts import list_alert
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.pps.requests import DeletePipeline, RerunPipeline, StartPipeline, StopPipeline


def show_input(document: Mapping[str, Any] | None) -> str:
    """An input for people: `images:/*`, `(a:/* ⨯ b:/)`, `tick:@hourly`; `-` where there is none."""
    if document is None:
        return "-"
    ((kind, body),) = document.items()
    match kind:
        case "pfs":
            return f"{body['repo']}:{body['glob']}"
        case "cron":
            return f"{body['name']}:{body['spec']}"
    mark = {"cross": " ⨯ ", "union": " ∪ ", "join": " ⋈ ", "group": " ⊎ "}[kind]
    return f"({mark.join(map(show_input, body))})"


def _alerts(document: Document) -> str:
    why = [shorten(document["reason"])] if document["state"] == PipelineState.CRASHING and document["reason"] else []
    return ", ".join([*document["alerts"], *why])


LATE = "uptime"
"""Of a pipeline with a job that runs for longer than its `maximum_expected_uptime`; `check status` says more."""
COLUMNS = (
    Column("PROJECT", text("project")),
    Column("NAME", text("name")),
    Column("VERSION", text("version")),
    Column("INPUT", lambda document, _: show_input(document["input"])),
    Column("CREATED", time("created")),
    Column("STATE / LAST JOB", lambda document, _: f"{document['state'] or '-'} / {document['last_job_state'] or '-'}"),
    Column("ALERTS", lambda document, _: _alerts(document)),
    Column("DESCRIPTION", brief("description")),
)


def _of_spec(key: str) -> Column:
    def show(document: Document, _: object) -> str:
        found = document["spec"].get(key, "")
        return found if isinstance(found, str) else to_json(found)

    return Column(key.replace("_", " ").capitalize(), show)


LINES = (
    Column("Name", text("name")),
    Column("Project", text("project")),
    Column("Description", optional("description")),
    Column("Version", text("version")),
    Column("Created", time("created")),
    Column("State", optional("state")),
    Column("Reason", optional("reason")),
    Column("Last job", optional("last_job_state")),
    Column("Process", lambda document, _: show_process(document["process"])),
    Column("Workers", lambda document, _: show_workers(document["workers"], runs_on=document["process"] is not None)),
    Column("Input", lambda document, _: to_json(document["input"])),
    Column("Transform", lambda document, _: to_json(document["transform"])),
    Column("Output branch", text("output_branch")),
    Column("User spec", text("user_spec_json")),
    Column("Effective spec", text("effective_spec_json")),
    *map(_of_spec, ("parallelism_spec", "datum_tries", "datum_timeout", "job_timeout", "reprocess_spec", "egress", "resource_requests", "resource_limits")),
)


@click.command(epilog="Example: pachctl inspect pipeline edges^1")
@click.argument("pipeline", metavar="PIPELINE[^N]")
@in_project
@printing
@click.pass_obj
def inspect_pipeline(environ: Mapping[str, str], pipeline: str, project: str, printer: Printer) -> None:
    """With ^N, its Nth older version."""
    name, caret, back = pipeline.partition("^")
    if caret and not (back or "1").isdigit():
        raise click.UsageError(f"'{pipeline}' has {back!r} after the '^'; it takes a number", click.get_current_context())
    with opened(environ) as record:
        with record.database.read() as txn:
            found = pipelines.get_pipeline(txn, parse_repo(name, project=project))
            if caret:
                found = _older_version(txn, found, int(back or "1"))
        (found,) = as_kept(record.leases, record.settings, [found])
        workers = workers_documents(record, found) if found.is_newest else None
    process = process_document(record.settings, found, workers)
    printer.one({**pipeline_inspection(found), "process": process, "workers": workers}, LINES)


@click.command(epilog="Example: pachctl extract pipeline edges > edges.json")
@click.argument("pipeline")
@in_project
@printing
@click.pass_obj
def extract_pipeline(environ: Mapping[str, str], pipeline: str, project: str, printer: Printer) -> None:
    """As it was written, before defaults: comments and all, or as JSON where the text was not kept. `update pipeline -f` reads it."""
    with reading(environ) as txn:
        found = pipelines.get_pipeline(txn, parse_repo(pipeline, project=project))
    if printer.for_programs:
        printer.only_documents(json.loads(found.user.document))
    else:
        click.echo(user_text(found), nl=False)


@click.command(epilog="Example: pachctl list pipeline -o json")
@click.argument("pipeline", required=False)
@click.option("-s", "--spec", "only_spec", is_flag=True, help="Their specifications, as JSON that `create pipeline` takes.")
@click.option("--history", callback=number_of_versions, metavar="N|all", help="Up to N older versions of each too, or all.")
@click.option("-c", "--commit", "set_id", metavar="ID", help="Those with a job in this commit set, as they were then.")
@click.option("--state", type=click.Choice([state.value for state in PipelineState], case_sensitive=False), help="Only those in this state.")
@click.option("-A", "--all-projects", is_flag=True, help="The pipelines of every project.")
@in_project
@printing
@click.pass_obj
def list_pipeline(
    environ: Mapping[str, str],
    pipeline: str | None,
    only_spec: bool,
    history: int | None,
    set_id: str | None,
    state: str | None,
    all_projects: bool,
    project: str,
    printer: Printer,
) -> None:
    """By name; the newest version comes first."""
    with opened(environ) as record:
        with record.database.read() as txn:
            repos.ensure_project(txn, project)
            name = None if pipeline is None else pipelines.get_pipeline(txn, parse_repo(pipeline, project=project)).name
            if set_id is not None:
                found = [one for one in pipelines.list_pipeline_of_set(txn, set_id) if all_projects or name is not None or one.name.project == project]
            else:
                found = pipelines.list_pipeline(txn, project=None if all_projects or name is not None else project)
            found = [one for one in found if name is None or one.name == name]
            if history:
                found = [version for one in found for version in _versions(txn, one, history)]
            late = {alert.pipeline for alert in list_alert(txn)}
        found = as_kept(record.leases, record.settings, found)
    told = [{**pipeline_document(one), "alerts": [LATE] if one.is_newest and one.name in late else []} for one in found]
    documents = [document for document in told if state is None or document["state"] == state]
    if only_spec:
        for document in documents:
            printer.always_documents(document["spec"])
    else:
        printer.many(documents, COLUMNS)


@click.command(epilog="Example: pachctl start pipeline edges")
@click.argument("pipeline")
@in_project
@printing
@click.pass_obj
def start_pipeline(environ: Mapping[str, str], pipeline: str, project: str, printer: Printer) -> None:
    """It gets one job for what its inputs hold now; commits made while it was stopped are not worked on one by one."""
    printer.only_documents(*map(document_of, ask(environ, StartPipeline(parse_repo(pipeline, project=project)))))
    tend(environ)


@click.command(epilog="Example: pachctl stop pipeline edges")
@click.argument("pipeline")
@in_project
@printing
@click.pass_obj
def stop_pipeline(environ: Mapping[str, str], pipeline: str, project: str, printer: Printer) -> None:
    """Its unfinished jobs are killed."""
    printer.only_documents(*map(document_of, ask(environ, StopPipeline(parse_repo(pipeline, project=project)))))
    tend(environ)


@click.command(epilog="Example: pachctl rerun pipeline edges --reprocess")
@click.argument("pipeline")
@click.option("--reprocess", is_flag=True, help="Run every datum again, in a new version of the pipeline.")
@in_project
@printing
@click.pass_obj
def rerun_pipeline(environ: Mapping[str, str], pipeline: str, reprocess: bool, project: str, printer: Printer) -> None:
    """Datums whose files did not change are skipped as usual, also when the script or image did; --reprocess runs all again."""
    printer.only_documents(*map(document_of, ask(environ, RerunPipeline(parse_repo(pipeline, project=project), reprocess))))
    if reprocess:
        tend(environ)


@click.command(epilog="Example: pachctl delete pipeline edges --keep-repo")
@click.argument("doomed", metavar="[PIPELINE...]", nargs=-1)
@click.option("--all", "every_pipeline", is_flag=True, help="Every pipeline of the project.")
@gone_option("-A", "--all-projects", is_flag=True, instead="take one project after the other with --project NAME, or `pachctl delete all`")
@force("Even when other pipelines read its output.")
@click.option("--keep-repo", is_flag=True, help="Keep the output repo with its data.")
@in_project
@printing
@click.pass_obj
def delete_pipeline(
    environ: Mapping[str, str], doomed: tuple[str, ...], every_pipeline: bool, force: bool, keep_repo: bool, project: str, printer: Printer
) -> None:
    """Refused while a pipeline that is not named too reads its output. Of several all are deleted, or none."""
    only_one("pipeline", doomed[0] if doomed else None, all_of_them=every_pipeline)
    named = list(dict.fromkeys(parse_repo(name, project=project) for name in doomed))
    request = DeletePipeline(named[0] if named else None, project, force, keep_repo, tuple(named[1:]))
    printer.only_documents(*map(document_of, ask(environ, request)))
    tend(environ)


def _older_version(txn: Transaction, newest: Pipeline, back: int) -> Pipeline:
    if back >= newest.version:
        has = f"has {newest.version} version{'s' * (newest.version > 1)}"
        hint = f"`pachctl list pipeline {newest.name.name} --history all` shows them"
        raise NotFoundError("pipeline-not-found", f"pipeline '{newest.name}' {has}, so none is {back} before the newest; {hint}")
    return pipelines.get_pipeline(txn, newest.name, version=newest.version - back)


def _versions(txn: Transaction, pipeline: Pipeline, number: int) -> Iterable[Pipeline]:
    found = [version for version in pipelines.list_version(txn, pipeline.name) if version.version <= pipeline.version]
    return found if number == ALL else found[: number + 1]
