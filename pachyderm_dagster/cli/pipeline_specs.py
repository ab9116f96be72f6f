"""The commands that read pipeline files."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import click
from click.core import ParameterSource

from pachyderm_dagster.cli.asking import add_to_active
from pachyderm_dagster.cli.documents import document_of
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.options import gone_option, in_project
from pachyderm_dagster.cli.pipelines import show_input
from pachyderm_dagster.cli.pod_checks import check_pods
from pachyderm_dagster.cli.printing import Column, Printer, printing
from pachyderm_dagster.cli.secrets import secret_store
from pachyderm_dagster.cli.source_folders import NO_FOLDERS, SourceFolders, with_sources
from pachyderm_dagster.cli.spec_files import STANDARD_INPUT, SpecText, complete_specs, read_text, tell_unused, user_specs
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.cli.templates import parse_arguments, render
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pfs.requests import Contents
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.one_file import check_together, refuse_twice
from pachyderm_dagster.pps.requests import CreatePipeline, Made, Request, apply, effective_spec
from pachyderm_dagster.pps.spec import PipelineSpec, UserSpec, to_document
from pachyderm_dagster.settings import load_settings

SPEC_COLUMNS = (
    Column("NAME", lambda document, _: document["pipeline"]["name"]),
    Column("INPUT", lambda document, _: show_input(document.get("input"))),
    Column("COMMAND", lambda document, _: " ".join(document["transform"].get("cmd", ())) or "-"),
)


def from_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-f/--file`: where the pipeline file is."""
    option = click.option(
        "-f", "--file", "source", default=STANDARD_INPUT, show_default=True, metavar="PATH|URL|-", help="JSON or YAML, with one pipeline or several."
    )
    return option(command)


def from_file_or_template(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-f`, or `--jsonnet` with `--arg`; the command gets the pipeline file as `given`."""

    @functools.wraps(command)
    def wrapped(*args: Any, source: str, template: str | None, arguments: tuple[str, ...], **values: Any) -> None:
        context = click.get_current_context()
        if template is None:
            if arguments:
                raise click.UsageError("--arg is for --jsonnet", context)
            if values.get("build") is not None and context.get_parameter_source("source") is ParameterSource.DEFAULT:
                # `--build FOLDER` alone: as Pachyderm 1.13, and as `dev pipeline`.
                source = load("pachyderm_dagster.pps.pipeline_files:find_pipeline_file")(values["build"])
            command(*args, given=read_text(source), **values)
            return
        if context.get_parameter_source("source") is not ParameterSource.DEFAULT:
            raise click.UsageError("-f and --jsonnet name two files; remove one", context)
        parsed = parse_arguments(arguments)
        command(*args, given=render(read_text(template), parsed), **values)

    argument = click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="An argument of the template; may be repeated.")
    template = click.option("--jsonnet", "template", metavar="PATH|URL|-", help="A Jsonnet template that makes one pipeline or several.")
    return from_file(template(argument(wrapped)))


def pushing_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pachyderm's options for pushing images, which are refused with what to do."""
    instead = "push the image with its own tool and name it in transform.image"
    command = gone_option("-p", "--push-images", is_flag=True, instead=instead)(command)
    for names in (("-r", "--registry"), ("-u", "--username")):
        command = gone_option(*names, instead=instead)(command)
    return command


def with_source_folder(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--build`: a source folder that the file does not name, or names otherwise."""
    help = "The source folder, kept with the version, as /pfs/source; before transform.build.path. Without -f, its pipeline file is taken."
    return click.option("-b", "--build", type=click.Path(), metavar="FOLDER", help=help)(command)


@click.command(epilog="Example: pachctl create pipeline -f edges.json")
@from_file_or_template
@click.option("--dry-run", is_flag=True, help="Check it against what exists and print the complete specification; make nothing.")
@with_source_folder
@pushing_images
@in_project
@printing
@click.pass_obj
def create_pipeline(environ: Mapping[str, str], given: SpecText, dry_run: bool, build: str | None, project: str, printer: Printer) -> None:
    """It gets its first job at once, for what its inputs hold now."""
    make_pipelines(environ, user_specs(given), project, printer, folders=SourceFolders.of(given, build), dry_run=dry_run)


@click.command(epilog="Example: pachctl update pipeline -f edges.json --reprocess")
@from_file_or_template
@click.option("--reprocess", is_flag=True, help="Run every datum again instead of only those that changed.")
@click.option("--dry-run", is_flag=True, help="Check it against what exists and print the complete specification; change nothing.")
@with_source_folder
@pushing_images
@in_project
@printing
@click.pass_obj
def update_pipeline(environ: Mapping[str, str], given: SpecText, reprocess: bool, dry_run: bool, build: str | None, project: str, printer: Printer) -> None:
    """Its unfinished jobs are killed and it gets a new one. A pipeline that does not exist is made."""
    folders = SourceFolders.of(given, build)
    make_pipelines(environ, user_specs(given), project, printer, folders=folders, dry_run=dry_run, update=True, reprocess=reprocess)


@click.command(epilog="Example: pachctl validate pipeline -f edges.json")
@from_file_or_template
@printing
@click.pass_obj
def validate_pipeline(environ: Mapping[str, str], given: SpecText, printer: Printer) -> None:
    """Looks at the file, and at what this machine and its cluster have for it; `create pipeline --dry-run` looks at the repos too."""
    specs = complete_specs(given)
    refuse_twice([spec.pipeline.in_project(DEFAULT_PROJECT) for spec in specs])
    check_pods(load_settings(environ), specs, DEFAULT_PROJECT)
    tell_unused(specs, environ)
    printer.many(map(to_document, specs), SPEC_COLUMNS)


def make_pipelines(
    environ: Mapping[str, str],
    given: Sequence[UserSpec],
    project: str,
    printer: Printer,
    *,
    folders: SourceFolders = NO_FOLDERS,
    dry_run: bool = False,
    update: bool = False,
    reprocess: bool = False,
) -> None:
    """Makes or updates pipelines one by one, or adds that to the active transaction. Those done before an error are told."""
    requests = [CreatePipeline("", project, update, reprocess, folders.name_in(spec)) for spec in given]
    specs = _checked(environ, requests, project)
    requests = with_sources(environ, requests, folders, dry_run=dry_run)
    if dry_run:
        printer.always_documents(*(to_document(made.spec) for made in try_out(environ, requests) if isinstance(made, Pipeline)))
        return
    tell_unused(specs, environ)
    made: list[Made] = []
    for request in requests:
        try:
            made += ask_with_contents(environ, request)
        except PachydermError:
            if made:
                click.echo(f"done before the error: {', '.join(str(one.name) for one in made if isinstance(one, Pipeline))}", err=True)
            raise
    printer.only_documents(*map(document_of, made))
    if update or any(spec.autoscaling for spec in specs):
        tend(environ)


def _checked(environ: Mapping[str, str], requests: Sequence[CreatePipeline], project: str) -> list[PipelineSpec]:
    """The effective specifications, with the defaults there are now; they go together, the secrets that they name are there, and pods can be made."""
    with reading(environ) as txn:
        specs = [effective_spec(txn, request) for request in requests]
        check_together(txn, specs, project)
    for spec in specs:
        secret_store(environ).check_uses(spec)
    check_pods(load_settings(environ), specs, project)
    return specs


def ask_with_contents(environ: Mapping[str, str], request: Request) -> list[Made]:
    """Does what is asked for, or adds it to the active transaction. For requests that write into the object store too."""
    added = add_to_active(environ, request)
    if added is not None:
        return added
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        (made,) = workspace.pps.apply_all([request])
    return list(made)


def try_out(environ: Mapping[str, str], requests: Sequence[Request]) -> list[Made]:
    """Does requests in a transaction that is rolled back, so that whatever would be refused is refused, and returns what they would have made."""
    with reading(environ) as txn:
        return [made for request in requests for made in apply(txn, request, Contents(trial=True))]
