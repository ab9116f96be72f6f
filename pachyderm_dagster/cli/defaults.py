"""The commands for defaults of pipelines."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from pachyderm_dagster.cli.active_transaction import active_transaction
from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import Fields, defaults_document, document_of, pipeline_document
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.pipeline_specs import ask_with_contents, from_file, try_out
from pachyderm_dagster.cli.pod_checks import check_pods
from pachyderm_dagster.cli.printing import Column, Printer, listed, printing, text
from pachyderm_dagster.cli.secrets import secret_store
from pachyderm_dagster.cli.spec_files import defaults_body, read_text
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pfs.requests import Contents
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.defaults import Defaults, find_defaults
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.requests import ChangeDefaults, apply
from pachyderm_dagster.settings import load_settings

COLUMNS = (
    Column("PROJECT", text("project")),
    Column("NAME", text("name")),
    Column("NEW VERSION", text("version")),
    Column("CHANGES", listed("changes")),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a change of defaults is to do beside it."""

    regenerate: bool
    reprocess: bool
    dry_run: bool


def of_whom(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--cluster` and `--project`, of which one has to be given; the command gets `project`, None for the cluster."""

    def choose(context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
        if not context.resilient_parsing and (given is None) is not context.params.get("cluster", False):
            raise click.UsageError("name one project, or use --cluster", context)
        return given

    # Eager, so that it is known when the other is looked at.
    cluster = click.option("--cluster", is_flag=True, is_eager=True, help="Those of all projects.")
    return cluster(click.option("--project", callback=choose, metavar="PROJECT", help="Those of one project; they come before those of the cluster.")(command))


def with_pipelines(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options for what becomes of pipelines; the command gets them as `wanted`."""

    @functools.wraps(command)
    def wrapped(*args: Any, regenerate: bool, reprocess: bool, dry_run: bool, **values: Any) -> None:
        command(*args, wanted=Wanted(regenerate, reprocess, dry_run), **values)

    found = click.option("--dry-run", is_flag=True, help="Change nothing, and list the pipelines that --regenerate would give a new version.")(wrapped)
    found = click.option("--reprocess", is_flag=True, help="As --regenerate, and those run every datum again.")(found)
    return click.option("--regenerate", is_flag=True, help="Give every pipeline that they change its next version.")(found)


@click.command(epilog="Example: pachctl create defaults --cluster -f defaults.json")
@of_whom
@from_file
@with_pipelines
@printing
@click.pass_obj
def create_defaults(environ: Mapping[str, str], project: str | None, cluster: bool, source: str, wanted: Wanted, printer: Printer) -> None:
    """Specifications are laid upon them (JSON merge patch) when a pipeline is made or updated; those that are there stay as they are."""
    body = json.dumps(defaults_body(read_text(source)))
    _change(environ, ChangeDefaults(project, body), wanted, printer)


@click.command(epilog="Example: pachctl update defaults --project teaching -f defaults.json --regenerate")
@of_whom
@from_file
@with_pipelines
@printing
@click.pass_obj
def update_defaults(environ: Mapping[str, str], project: str | None, cluster: bool, source: str, wanted: Wanted, printer: Printer) -> None:
    """What is in the file takes the place of all that was there. Pipelines keep their specifications until they are updated, or at once with --regenerate."""
    body = json.dumps(defaults_body(read_text(source)))
    _change(environ, ChangeDefaults(project, body, update=True), wanted, printer)


@click.command(epilog="Example: pachctl delete defaults --cluster --dry-run")
@of_whom
@with_pipelines
@printing
@click.pass_obj
def delete_defaults(environ: Mapping[str, str], project: str | None, cluster: bool, wanted: Wanted, printer: Printer) -> None:
    """Pipelines keep their specifications until they are updated, or lose what came from the defaults at once with --regenerate."""
    _change(environ, ChangeDefaults(project), wanted, printer)


@click.command(epilog="Example: pachctl inspect defaults --cluster")
@of_whom
@printing
@click.pass_obj
def inspect_defaults(environ: Mapping[str, str], project: str | None, cluster: bool, printer: Printer) -> None:
    """As `create defaults` reads them; without any, an empty one."""
    with reading(environ) as txn:
        found = find_defaults(txn, project) or Defaults(project, {})
    printer.always_documents(defaults_document(found))


def _change(environ: Mapping[str, str], change: ChangeDefaults, wanted: Wanted, printer: Printer) -> None:
    if wanted.dry_run:
        printer.many(_would_change(environ, change), COLUMNS)
        return
    request = ChangeDefaults(change.project, change.body, change.update, wanted.regenerate or wanted.reprocess, wanted.reprocess)
    # In a transaction it is not known before its end what it changes.
    if request.regenerate and active_transaction(environ) is None:
        _check_specs(environ, request)
    made = ask_with_contents(environ, request) if request.regenerate else ask(environ, request)
    if not printer.for_programs:
        for pipeline in (one for one in made if isinstance(one, Pipeline)):
            click.echo(f"pipeline '{pipeline.name}' has version {pipeline.version} now", err=True)
    printer.only_documents(*map(document_of, made))
    if request.regenerate:
        tend(environ)


def _check_specs(environ: Mapping[str, str], request: ChangeDefaults) -> None:
    """Whether the pipelines that get another version find the secrets that it names, and can have pods, as `update pipeline` asks too."""
    specs = [made.spec for made in try_out(environ, [request]) if isinstance(made, Pipeline)]
    for spec in specs:
        secret_store(environ).check_uses(spec)
    check_pods(load_settings(environ), specs, DEFAULT_PROJECT)


def _would_change(environ: Mapping[str, str], change: ChangeDefaults) -> list[Fields]:
    """The pipelines that would get another version, as they would be then, with the fields of their specifications that differ."""
    trial = ChangeDefaults(change.project, change.body, change.update, regenerate=True)
    with reading(environ) as txn:
        before = {pipeline.name: pipeline_document(pipeline) for pipeline in pipelines.list_pipeline(txn)}
        after = [one for one in apply(txn, trial, Contents(trial=True)) if isinstance(one, Pipeline)]
        return [pipeline_document(one) | {"changes": _differing(before[one.name]["spec"], pipeline_document(one)["spec"])} for one in after]


def _differing(old: Fields, new: Fields) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
