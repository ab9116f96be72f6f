"""The commands that run workflows of Argo, and look at them."""

from collections.abc import Mapping

import click
import msgspec

from pachyderm_dagster.argo.answering import answer
from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.runs import STOP, TERMINATE, RunFolder
from pachyderm_dagster.argo.submitting import find_single, named, new_subject
from pachyderm_dagster.cli.argo_files import read_files
from pachyderm_dagster.cli.argo_runs import given_parameters, run_document, run_on, runs_of, show
from pachyderm_dagster.cli.printing import Column, Printer, printing, text, time
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import NotFoundError, StateError

COLUMNS = (
    Column("NAME", text("name")),
    Column("STATUS", text("phase")),
    Column("CREATED", time("created")),
    Column("FINISHED", time("finished")),
    Column("MESSAGE", text("message")),
)
_RUN = click.argument("workflow", metavar="WORKFLOW")
_PARAMETERS = click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given several times.")


@click.command(epilog="Example: pachctl argo submit workflow.yaml -p message=hello")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_PARAMETERS
@click.option("--entrypoint", metavar="TEMPLATE", help="Another template to begin with.")
@click.option("--name", metavar="NAME", help="Another name.")
@click.option("--generate-name", metavar="PREFIX", help="What another name begins with.")
@click.option("--network", is_flag=True, help="Let pods reach other machines.")
@printing
@click.pass_obj
def argo_submit(
    environ: Mapping[str, str],
    files: tuple[str, ...],
    parameters: tuple[str, ...],
    entrypoint: str | None,
    name: str | None,
    generate_name: str | None,
    network: bool,
    printer: Printer,
) -> None:
    """Runs the workflow, or the WorkflowTemplate, of the files here, and shows what came of it; the exit status is 1 when it failed.
    It may name what else is in the files.

    Its pods are processes of this machine. Each has a root of its own, in which the machine's programs are read-only, and reaches other machines with --network
    only. Interrupted, it can be run on with `argo retry`.
    """
    found, library = read_files(files)
    wanted = find_single(found)
    clock = SystemClock()
    metadata = named(wanted.metadata, name, generate_name, clock.new_id())
    spec = wanted.spec if entrypoint is None else msgspec.structs.replace(wanted.spec, entrypoint=entrypoint)
    subject = new_subject(metadata, spec, library, given_parameters(parameters), clock)
    runs = runs_of(environ)
    run = runs.create(subject, network=network)
    click.echo(f"note: workflow {run.name!r}", err=True)
    click.get_current_context().exit(run_on(runs, run, printer))


@click.command(epilog="Example: pachctl argo list")
@printing
@click.pass_obj
def argo_list(environ: Mapping[str, str], printer: Printer) -> None:
    """The newest come first."""
    printer.many([run_document(run) for run in runs_of(environ).list()], COLUMNS)


@click.command(epilog="Example: pachctl argo get @latest")
@_RUN
@printing
@click.pass_obj
def argo_get(environ: Mapping[str, str], workflow: str, printer: Printer) -> None:
    """Its nodes are drawn as a tree. `@latest` is the newest workflow."""
    show(runs_of(environ).get(workflow), printer)


@click.command(epilog="Example: pachctl argo logs @latest")
@_RUN
@click.argument("pod", required=False, metavar="[POD]")
@click.pass_obj
def argo_logs(environ: Mapping[str, str], workflow: str, pod: str | None) -> None:
    """Of one pod, or of all, each line with the name of its pod. `@latest` is the newest workflow."""
    run = runs_of(environ).get(workflow)
    pods = [node.pod for node in run.nodes().values() if node.pod]
    if pod is not None and pod not in pods:
        raise NotFoundError("pod-not-found", f"the workflow {run.name!r} has no pod {pod!r}; those that it has: {joined(pods[:10])}")
    for name in [pod] if pod else pods:
        _print_log(run, name, "" if pod else f"{name}: ")


def _print_log(run: RunFolder, pod: str, prefix: str) -> None:
    try:
        with open(run.path / "pods" / pod / "log", encoding="utf-8", errors="replace") as log:
            for line in log:
                click.echo(prefix + line.removesuffix("\n"))
    except FileNotFoundError:
        return


@click.command(epilog="Example: pachctl argo resume @latest -p approved=yes")
@_RUN
@_PARAMETERS
@click.option("--node", "node_name", metavar="NAME", help="Only the node of this name, full or as it is shown.")
@printing
@click.pass_obj
def argo_resume(environ: Mapping[str, str], workflow: str, parameters: tuple[str, ...], node_name: str | None, printer: Printer) -> None:
    """Its nodes that are suspended go on, with the parameters that their templates ask for. When no other process runs it, this one does."""
    runs = runs_of(environ)
    run = runs.get(workflow)
    answer(run, given_parameters(parameters), node=node_name)
    if not run.is_running():
        click.get_current_context().exit(run_on(runs, run, printer))


@click.command(epilog="Example: pachctl argo stop @latest")
@_RUN
@click.option("--terminate", is_flag=True, help="Run no exit handler.")
@click.pass_obj
def argo_stop(environ: Mapping[str, str], workflow: str, terminate: bool) -> None:
    """Ends its pods; the exit handler is run. It is done by the process that runs the workflow."""
    run = runs_of(environ).get(workflow)
    if not run.is_running():
        raise StateError("workflow-not-running", f"no process runs the workflow {run.name!r}; there is nothing to stop")
    run.ask_to_stop(TERMINATE if terminate else STOP)


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
