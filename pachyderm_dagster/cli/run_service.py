"""`run service`."""

import threading
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.signals import stopped_by_signal
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.choosing import ServiceKeeper, service_keeper
from pachyderm_dagster.executors.keeper import Keeper
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.workspace import Workspace, open_workspace

LOOK_SECONDS = 0.5


@click.command(epilog="Example: pachctl run service plots")
@click.argument("pipelines_to_run", metavar="[PIPELINE...]", nargs=-1)
@in_project
@click.pass_obj
def run_service(environ: Mapping[str, str], pipelines_to_run: tuple[str, ...], project: str) -> None:
    """Those named, or all of them, until Ctrl-C: starts their processes, starts them again when they end, and lets services serve the newest commit. What is
    stopped, updated, deleted or made meanwhile is followed. `pachyderm-dagster dev` does this too. On Kubernetes they are pods, which stay when this ends.
    """
    with stopped_by_signal() as stop, closing(open_workspace(environ, project=project)) as workspace:
        names = {_checked(workspace, parse_repo(name, project=project)) for name in pipelines_to_run} or None
        in_pods = service_keeper(workspace, names=names, tell=_tell)
        if in_pods is not None:
            _keep_in_pods(in_pods, stop)
            return
        with Keeper(workspace, environ, names=names, tell=_tell) as keeper:
            while not stop.is_set():
                keeper.step(LOOK_SECONDS)


def _keep_in_pods(keeper: ServiceKeeper, stop: threading.Event) -> None:
    keeper.step()
    while not stop.wait(LOOK_SECONDS):
        keeper.step()


def _checked(workspace: Workspace, name: RepoName) -> RepoName:
    with workspace.database.read() as txn:
        found = pipelines.get_pipeline(txn, name)
    if not found.spec.runs_on:
        way_out = f"its jobs run under `pachyderm-dagster dev`, or with `pachctl wait commit {name}@{found.spec.output_branch}`"
        raise InvalidError("not-a-service", f"pipeline '{name}' is neither a service nor a spout; {way_out}")
    return name


def _tell(line: str) -> None:
    click.echo(line, err=True)
