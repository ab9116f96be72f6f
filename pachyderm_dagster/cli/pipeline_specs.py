"""The commands that read pipeline files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from pachyderm_dagster.cli.asking import add_to_active
from pachyderm_dagster.cli.documents import document_of
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.pipelines import show_input
from pachyderm_dagster.cli.printing import Column, Printer, printing
from pachyderm_dagster.cli.secrets import secret_store
from pachyderm_dagster.cli.spec_files import STANDARD_INPUT, read_specs, tell_unused
from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.requests import CreatePipeline, Made
from pachyderm_dagster.pps.spec import PipelineSpec, to_document

SPEC_COLUMNS = (
    Column("NAME", lambda document, _: document["pipeline"]["name"]),
    Column("INPUT", lambda document, _: show_input(document["input"])),
    Column("COMMAND", lambda document, _: " ".join(document["transform"].get("cmd", ())) or "-"),
)


def from_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-f/--file`: where the pipeline file is."""
    option = click.option(
        "-f", "--file", "source", default=STANDARD_INPUT, show_default=True, metavar="PATH|URL|-", help="JSON or YAML, with one pipeline or several."
    )
    return option(command)


def pushing_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pachyderm's options for pushing images, which are refused with what to do."""

    def refuse(_context: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            raise InvalidError("option-gone", f"{option.opts[-1]} does nothing here; push the image with its own tool and name it in transform.image")

    for names in (("-p", "--push-images"), ("-b", "--build")):
        command = click.option(*names, is_flag=True, hidden=True, expose_value=False, callback=refuse)(command)
    for names in (("-r", "--registry"), ("-u", "--username")):
        command = click.option(*names, hidden=True, expose_value=False, callback=refuse)(command)
    return command


@click.command(epilog="Example: pachctl create pipeline -f edges.json")
@from_file
@click.option("--dry-run", is_flag=True, help="Check it against what exists and print the complete specification; make nothing.")
@pushing_images
@in_project
@printing
@click.pass_obj
def create_pipeline(environ: Mapping[str, str], source: str, dry_run: bool, project: str, printer: Printer) -> None:
    """It gets its first job at once, for what its inputs hold now."""
    _make(environ, source, project, printer, dry_run=dry_run, update=False, reprocess=False)


@click.command(epilog="Example: pachctl update pipeline -f edges.json --reprocess")
@from_file
@click.option("--reprocess", is_flag=True, help="Run every datum again instead of only those that changed.")
@click.option("--dry-run", is_flag=True, help="Check it against what exists and print the complete specification; change nothing.")
@pushing_images
@in_project
@printing
@click.pass_obj
def update_pipeline(environ: Mapping[str, str], source: str, reprocess: bool, dry_run: bool, project: str, printer: Printer) -> None:
    """Its unfinished jobs are killed and it gets a new one. A pipeline that does not exist is made."""
    _make(environ, source, project, printer, dry_run=dry_run, update=True, reprocess=reprocess)


@click.command(epilog="Example: pachctl validate pipeline -f edges.json")
@from_file
@printing
def validate_pipeline(source: str, printer: Printer) -> None:
    """Looks at nothing but the file; `create pipeline --dry-run` looks at the repos too."""
    printer.many(map(to_document, read_specs(source)), SPEC_COLUMNS)


def _make(environ: Mapping[str, str], source: str, project: str, printer: Printer, *, dry_run: bool, update: bool, reprocess: bool) -> None:
    specs = read_specs(source)
    for spec in specs:
        secret_store(environ).check_uses(spec)
    if dry_run:
        _try(environ, specs, project, update=update)
        for spec in specs:
            printer.always_documents(to_document(spec))
        return
    tell_unused(specs, environ)
    made: list[Made] = []
    for spec in specs:
        try:
            made += _make_one(environ, CreatePipeline(spec.to_json(), project, update, reprocess))
        except PachydermError:
            if made:
                click.echo(f"done before the error: {', '.join(str(one.name) for one in made if isinstance(one, Pipeline))}", err=True)
            raise
    printer.only_documents(*map(document_of, made))


def _make_one(environ: Mapping[str, str], request: CreatePipeline) -> list[Made]:
    added = add_to_active(environ, request)
    if added is not None:
        return added
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        (made,) = workspace.pps.apply_all([request])
    return list(made)


def _try(environ: Mapping[str, str], specs: Sequence[PipelineSpec], project: str, *, update: bool) -> None:
    """Makes the pipelines in a transaction that is rolled back, so that whatever would be refused is refused."""
    with reading(environ) as txn:
        for spec in specs:
            pipelines.create_pipeline(txn, spec, spec_tree=(b"", 0), update=update, default_project=project)
