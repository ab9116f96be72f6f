"""The commands that run workflows of Argo, and look at them."""

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from pachyderm_dagster.argo.kept_objects import KeptObjects, parse_short_name
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.submitting import find_single, kept_workflow, named, new_subject
from pachyderm_dagster.argo.workflows import WorkflowTemplate
from pachyderm_dagster.cli.argo_files import read_files
from pachyderm_dagster.cli.argo_runs import file_parameters, given_files, given_parameters, run_document, run_on, runs_of, show
from pachyderm_dagster.cli.printing import Column, Printer, printing, text, time
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.settings import load_settings

COLUMNS = (
    Column("NAME", text("name")),
    Column("STATUS", text("phase")),
    Column("CREATED", time("created")),
    Column("FINISHED", time("finished")),
    Column("MESSAGE", text("message")),
)
_OPEN = (Phase.PENDING.value, Phase.RUNNING.value)
_ENDED = (Phase.SUCCEEDED.value, Phase.FAILED.value, Phase.ERROR.value)
_PHASES = (*_OPEN, *_ENDED)
_RUN = click.argument("workflow", metavar="WORKFLOW")
_PARAMETERS = click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given several times.")


@click.command(epilog="Example: pachctl argo submit workflow.yaml -p message=hello")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--from", "kept_name", metavar="KIND/NAME", help="An object that the home keeps: wftmpl/NAME, cwft/NAME, cronwf/NAME, workflow/NAME.")
@_PARAMETERS
@click.option("-f", "--parameter-file", metavar="FILE", help="Parameters, as YAML or JSON: names with values.")
@click.option("--artifact", "artifacts", multiple=True, metavar="NAME=PATH", help="A file or folder that is an artifact; may be given several times.")
@click.option("--entrypoint", metavar="TEMPLATE", help="Another template to begin with.")
@click.option("--name", metavar="NAME", help="Another name.")
@click.option("--generate-name", metavar="PREFIX", help="What another name begins with.")
@click.option("--network", is_flag=True, help="Let pods reach other machines.")
@printing
@click.pass_obj
def argo_submit(
    environ: Mapping[str, str],
    files: tuple[str, ...],
    kept_name: str | None,
    parameters: tuple[str, ...],
    parameter_file: str | None,
    artifacts: tuple[str, ...],
    entrypoint: str | None,
    name: str | None,
    generate_name: str | None,
    network: bool,
    printer: Printer,
) -> None:
    """Runs the workflow, or the WorkflowTemplate, of the files here, and shows what came of it; the exit status is 1 when it failed.
    It may name what else is in the files, and what the home keeps (`sync` brings it there).

    Its pods are processes of this machine. Each has a root of its own, in which the machine's programs are read-only, and reaches other machines with --network
    only. With PACHYDERM_EXECUTOR=kubernetes they are pods of a cluster, and have its network. Interrupted, it can be run on with `argo retry`.
    """
    if bool(files) is (kept_name is not None):
        raise click.UsageError("give the files of a workflow, or --from with an object that the home keeps")
    kept = KeptObjects(Path(load_settings(environ).home))
    found, library = read_files(files, kept.list())
    wanted = find_single(found) if kept_name is None else kept_workflow(kept.get(parse_short_name(kept_name)))
    clock = SystemClock()
    if isinstance(wanted, WorkflowTemplate) and not generate_name:
        # As Argo does: a template is run again and again.
        generate_name = f"{wanted.metadata.name or wanted.metadata.generate_name.rstrip('-')}-"
    metadata = named(wanted.metadata, name, generate_name, clock.new_id())
    spec = wanted.spec if entrypoint is None else msgspec.structs.replace(wanted.spec, entrypoint=entrypoint)
    given = {**(file_parameters(parameter_file) if parameter_file else {}), **given_parameters(parameters)}
    paths = given_files(artifacts)
    subject = new_subject(metadata, spec, library, given, clock, files=paths)
    runs = runs_of(environ)
    runs.delete_expired(clock.now().timestamp())
    run = runs.create(subject, network=network, files=paths)
    click.echo(f"note: workflow {run.name!r}", err=True)
    click.get_current_context().exit(run_on(runs, run, printer))


@click.command(epilog="Example: pachctl argo list --running")
@click.option("--running", is_flag=True, help="Those that have not ended.")
@click.option("--completed", is_flag=True, help="Those that have ended.")
@click.option("--status", "statuses", type=click.Choice(_PHASES), multiple=True, help="Those of this status; may be given several times.")
@printing
@click.pass_obj
def argo_list(environ: Mapping[str, str], running: bool, completed: bool, statuses: tuple[str, ...], printer: Printer) -> None:
    """The newest come first. Those whose `ttlStrategy` says so are removed."""
    runs = runs_of(environ)
    runs.delete_expired(SystemClock().now().timestamp())
    wanted = {*statuses, *(_OPEN if running else ()), *(_ENDED if completed else ())} or set(_PHASES)
    printer.many([run_document(run) for run in runs.list() if run.phase().value in wanted], COLUMNS)


@click.command(epilog="Example: pachctl argo get @latest")
@_RUN
@printing
@click.pass_obj
def argo_get(environ: Mapping[str, str], workflow: str, printer: Printer) -> None:
    """Its nodes are drawn as a tree. `@latest` is the newest workflow."""
    show(runs_of(environ).get(workflow), printer)


@click.command(epilog="Example: pachctl argo retry @latest")
@_RUN
@printing
@click.pass_obj
def argo_retry(environ: Mapping[str, str], workflow: str, printer: Printer) -> None:
    """Runs it on here: nodes that succeeded are kept, those that failed or were interrupted are run again."""
    runs = runs_of(environ)
    run = runs.get(workflow)
    ending = run.ending()
    if ending is not None and not ending.phase.is_failure:
        raise StateError("workflow-succeeded", f"the workflow {run.name!r} succeeded; submit it again to run it anew")
    if ending is not None:
        with run.running():
            run.forget_failures()
    click.get_current_context().exit(run_on(runs, run, printer))
