"""The commands that people steer workflows with that were submitted: suspend, resume, answer, stop, delete."""

from collections.abc import Mapping
from datetime import timedelta

import click

from pachyderm_dagster.argo.answering import answer, waiting_of
from pachyderm_dagster.argo.control import STOP, TERMINATE
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.cli.argo_runs import given_parameters, run_on, runs_of
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.errors import StateError

_RUN = click.argument("workflow", metavar="WORKFLOW")
_PARAMETERS = click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given several times.")
_SELECTOR = click.option(
    "--node-field-selector", "selector", metavar="FIELD=VALUE", default="", help="Only nodes of these: displayName=approve,inputs.parameters.env.value=prod."
)
_MESSAGE = click.option("-m", "--message", default="", metavar="TEXT", help="Why; it is shown with the node.")
_PHASES = ("Succeeded", "Failed", "Error")


@click.command(epilog="Example: pachctl argo suspend @latest")
@_RUN
@click.pass_obj
def argo_suspend(environ: Mapping[str, str], workflow: str) -> None:
    """What runs goes on, and nothing else of it begins before `argo resume`."""
    run = runs_of(environ).get(workflow)
    if run.ending() is not None:
        raise StateError("workflow-not-running", f"the workflow {run.name!r} has ended; there is nothing to suspend")
    run.suspend()


@click.command(epilog="Example: pachctl argo resume @latest -p approved=yes")
@_RUN
@_PARAMETERS
@click.option("--node", "node_name", metavar="NAME", help="Only the node of this name, full or as it is shown.")
@_SELECTOR
@_MESSAGE
@printing
@click.pass_obj
def argo_resume(
    environ: Mapping[str, str], workflow: str, parameters: tuple[str, ...], node_name: str | None, selector: str, message: str, printer: Printer
) -> None:
    """Its nodes that are suspended go on, with the parameters that their templates ask for; so does the workflow, when it is suspended as a whole.

    When no other process runs it, this one does.
    """
    runs = runs_of(environ)
    run = runs.get(workflow)
    of_whole = run.is_suspended() and node_name is None and not selector
    if of_whole:
        run.resume()
    if not of_whole or waiting_of(run):
        answer(run, given_parameters(parameters), node=node_name, selector=selector, message=message)
    if not run.is_running():
        click.get_current_context().exit(run_on(runs, run, printer))


@click.command(epilog="Example: pachctl argo node set @latest --node-field-selector displayName=approve --output-parameter ok=yes")
@_RUN
@click.option("--output-parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter that it gives; may be given several times.")
@click.option("--phase", type=click.Choice(_PHASES), help="It ends as this, instead of waiting on.")
@_SELECTOR
@_MESSAGE
@click.pass_obj
def argo_node_set(environ: Mapping[str, str], workflow: str, parameters: tuple[str, ...], phase: str | None, selector: str, message: str) -> None:
    """Gives suspended nodes parameters, or has them end, without going on here: `argo resume` or the process that runs it does that."""
    run = runs_of(environ).get(workflow)
    answer(run, given_parameters(parameters), selector=selector, phase=None if phase is None else Phase(phase), message=message)


@click.command(epilog="Example: pachctl argo stop @latest")
@_RUN
@click.option("--terminate", is_flag=True, help="Run no exit handler.")
@_SELECTOR
@_MESSAGE
@printing
@click.pass_obj
def argo_stop(environ: Mapping[str, str], workflow: str, terminate: bool, selector: str, message: str, printer: Printer) -> None:
    """Ends its pods; the exit handler is run. It is done by the process that runs the workflow, or here when there is none.

    With --node-field-selector only suspended nodes end, as failed.
    """
    runs = runs_of(environ)
    run = runs.get(workflow)
    if selector:
        answer(run, {}, selector=selector, phase=Phase.FAILED, message=message)
        return
    _end(runs, run, TERMINATE if terminate else STOP, printer)


@click.command(epilog="Example: pachctl argo terminate @latest")
@_RUN
@printing
@click.pass_obj
def argo_terminate(environ: Mapping[str, str], workflow: str, printer: Printer) -> None:
    """As `argo stop --terminate`: its pods end, and no exit handler is run."""
    runs = runs_of(environ)
    _end(runs, runs.get(workflow), TERMINATE, printer)


def _end(runs: Runs, run: RunFolder, strategy: str, printer: Printer) -> None:
    if run.ending() is not None:
        raise StateError("workflow-not-running", f"the workflow {run.name!r} has ended; there is nothing to stop")
    if run.is_running():
        run.ask_to_stop(strategy)
        return
    run_on(runs, run, printer, stop=strategy)


@click.command(epilog="Example: pachctl argo delete --older 7d")
@click.argument("workflows", nargs=-1, metavar="[WORKFLOW...]")
@click.option("--all", "all_runs", is_flag=True, help="All that have ended, or that nobody runs.")
@click.option("--completed", is_flag=True, help="All that have ended.")
@click.option("--older", metavar="DURATION", help="All that ended longer ago than this: 7d, 12h.")
@click.pass_obj
def argo_delete(environ: Mapping[str, str], workflows: tuple[str, ...], all_runs: bool, completed: bool, older: str | None) -> None:
    """Their nodes, logs, volumes and artifacts are removed; what was committed of their artifacts stays in its repo."""
    runs = runs_of(environ)
    if not (workflows or all_runs or completed or older):
        raise click.UsageError("nothing says which workflows; name some, or give --all, --completed or --older")
    chosen = [runs.get(name) for name in dict.fromkeys(workflows)]
    if all_runs or completed or older:
        before = SystemClock().now() - timedelta(seconds=parse_given_duration(older)) if older else None
        chosen += [run for run in runs.list() if _is_old(run, None if before is None else before.timestamp(), open_too=all_runs) and not run.is_running()]
    for run in dict.fromkeys(chosen):
        if runs.delete(run):
            click.echo(f"deleted {run.name}")


def _is_old(run: RunFolder, before: float | None, *, open_too: bool) -> bool:
    ending = run.ending()
    if ending is None:
        return open_too
    return before is None or ending.finished < before
