"""The commands that stay with workflows that others run: wait for their ends, watch their nodes, follow what their pods print."""

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping

import click

from pachyderm_dagster.argo.local_pod import PodFolder
from pachyderm_dagster.argo.log_tail import LogTail
from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.cli.argo_runs import runs_of, show
from pachyderm_dagster.cli.failures import DONE, FAILED
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.errors import NotFoundError, StateError

_LOOK_SECONDS = 0.2
_RUN = click.argument("workflow", metavar="WORKFLOW")


@click.command(epilog="Example: pachctl argo wait @latest")
@click.argument("workflows", nargs=-1, required=True, metavar="WORKFLOW...")
@click.option("--ignore-not-found", is_flag=True, help="One that is not there has ended.")
@click.pass_obj
def argo_wait(environ: Mapping[str, str], workflows: tuple[str, ...], ignore_not_found: bool) -> None:
    """Until another process has run them to their ends. The exit status is 1 when one failed."""
    runs = runs_of(environ)
    status = DONE
    for name in dict.fromkeys(workflows):
        try:
            run = runs.get(name)
        except NotFoundError:
            if ignore_not_found:
                continue
            raise
        for _ in _while_it_runs(run):
            pass
        phase = run.phase()
        click.echo(f"{run.name} {phase.value}")
        status = status if phase is Phase.SUCCEEDED else FAILED
    click.get_current_context().exit(status)


@click.command(epilog="Example: pachctl argo watch @latest")
@_RUN
@printing
@click.pass_obj
def argo_watch(environ: Mapping[str, str], workflow: str, printer: Printer) -> None:
    """Its nodes are drawn again whenever one changes, until it has ended."""
    run = runs_of(environ).get(workflow)
    seen = None
    for _ in _while_it_runs(run):
        nodes = run.nodes()
        if nodes != seen:
            seen = nodes
            if sys.stdout.isatty():
                click.clear()
            show(run, printer)
    if sys.stdout.isatty():
        click.clear()
    show(run, printer)


@click.command(epilog="Example: pachctl argo logs @latest --follow")
@_RUN
@click.argument("pod", required=False, metavar="[POD]")
@click.option("-c", "--container", metavar="NAME", help="What this container printed: a sidecar, or an init container.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the workflow has ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Begin with so many of the last lines of each pod.")
@click.option("--grep", metavar="TEXT", default="", help="Only lines with this text.")
@click.pass_obj
def argo_logs(environ: Mapping[str, str], workflow: str, pod: str | None, container: str | None, follow: bool, tail: int | None, grep: str) -> None:
    """Of one pod, or of all, each line with the name of its pod. `@latest` is the newest workflow."""
    run = runs_of(environ).get(workflow)
    tails: dict[str, LogTail] = {}
    left = {} if tail is None else dict.fromkeys(_pods_of(run, pod), tail)

    def print_new(*, has_ended: bool) -> None:
        for name in _pods_of(run, pod):
            folder = PodFolder(run.path / "pods" / name)
            log = tails.setdefault(name, LogTail(folder.log_beside(container) if container else folder.log))
            lines = log.lines(has_ended=has_ended)
            most = left.pop(name, None)
            for line in lines if most is None else deque(lines, most):
                if grep in line:
                    click.echo(line if pod else f"{name}: {line}")

    for _ in _while_it_runs(run) if follow else ():
        print_new(has_ended=False)
    print_new(has_ended=True)


def _pods_of(run: RunFolder, pod: str | None) -> list[str]:
    pods = [node.pod for node in run.nodes().values() if node.pod]
    if pod is not None and pod not in pods:
        raise NotFoundError("pod-not-found", f"the workflow {run.name!r} has no pod {pod!r}; those that it has: {joined(pods[:10])}")
    return [pod] if pod else pods


def _while_it_runs(run: RunFolder) -> Iterator[None]:
    """Again and again while another process runs it. Nothing is waited for that does not come.

    Raises:
        StateError: `workflow-not-running`.
    """
    while run.ending() is None:
        yield
        if not run.is_running() and run.ending() is None:
            waits = "it waits for somebody, and `pachctl argo resume {0}` goes on" if run.suspended() or run.is_suspended() else "`pachctl argo retry {0}` does"
            raise StateError("workflow-not-running", f"nobody runs the workflow {run.name!r}; {waits.format(run.name)}")
        time.sleep(_LOOK_SECONDS)
