"""Reacts to commits beside the daemon and the web server of a user's own Dagster project, until it is told to stop."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.integration.dagster_code import CodeLocations, open_code
from pachyderm_dagster.integration.dagster_inner import open_instance_of
from pachyderm_dagster.integration.project_code import ProjectCode
from pachyderm_dagster.integration.reacting import POLL_SECONDS, Reactor, open_reactor
from pachyderm_dagster.integration.record_snapshot import read_snapshot
from pachyderm_dagster.log_lines import set_up
from pachyderm_dagster.settings import DAGSTER_HOME
from pachyderm_dagster.workspace import Workspace, open_workspace

CLAIM_SECONDS = LEASE_TIME.total_seconds() + 2
"""How long the claim of one that was killed is waited for."""


def react(environ: Mapping[str, str], options: Mapping[str, Any], *, is_instant: bool, tell: Callable[[str], None]) -> None:
    """Reacts to the commits of the workspace that `environ` names, until KeyboardInterrupt.

    Args:
        options: what Dagster's command line takes to name code locations.
        is_instant: whether short jobs are done here, without a run.
        tell: takes lines for people.

    Raises:
        StateError: `dagster-home-unset`, when there is no instance that a daemon can share; `reactor-running`.
        InvalidError: `workspace-unknown`, `project-twice`.
        NotFoundError: `code-without-pipelines`.
    """
    folder = _dagster_home(environ)
    workspace = open_workspace(environ)
    set_up(workspace.settings.log_format)
    try:
        with open_instance_of(folder) as instance, open_code(instance, options) as locations:
            code = ProjectCode(locations, tell)
            with workspace.database.read() as txn:
                projects = sorted(code.serve(read_snapshot(txn)))
            _check_served(projects, locations)
            with open_reactor(workspace, environ, instance, code, is_instant=is_instant) as reactor:
                _claim(reactor, tell)
                tell(_greeting(workspace, projects, folder, is_instant=is_instant))
                reactor.serve()
    finally:
        workspace.close()


def _dagster_home(environ: Mapping[str, str]) -> Path:
    """The folder of the instance: named by the environment alone, as for Dagster's own processes."""
    named = environ.get(DAGSTER_HOME)
    wanted = "set it to the folder that the daemon and the web server of your project have, in every terminal"
    if not named:
        raise StateError("dagster-home-unset", f"DAGSTER_HOME is not set, so there is no instance to share; {wanted}")
    folder = Path(named).expanduser().absolute()
    if not folder.is_dir():
        raise StateError("dagster-home-unset", f"DAGSTER_HOME names {folder}, which is no folder; {wanted}")
    return folder


def _check_served(projects: list[str], locations: CodeLocations) -> None:
    if projects:
        return
    found = "; ".join(f"{name} cannot be loaded: {problem}" for name, problem in locations.problems().items())
    names = ", ".join(locations.names())
    problem = found or f"code location {names} has no pipelines"
    raise NotFoundError("code-without-pipelines", f"{problem}; name the code that has them, and see `dagster definitions validate`")


def _claim(reactor: Reactor, tell: Callable[[str], None]) -> None:
    """Takes the leases of all projects; those of one that was killed end by themselves."""
    deadline, is_told = time.monotonic() + CLAIM_SECONDS, False
    while others := reactor.hold_on():
        names = ", ".join(others)
        if time.monotonic() > deadline:
            raise StateError("reactor-running", f"another process (`react` or `dev`) reacts to the commits of {names}; use that one, or stop it first")
        if not is_told:
            tell(f"Another process reacts to the commits of {names}, or was killed a moment ago; waiting up to {CLAIM_SECONDS:g} s for its claim to end")
            is_told = True
        time.sleep(POLL_SECONDS * 10)


def _greeting(workspace: Workspace, projects: list[str], folder: Path, *, is_instant: bool) -> str:
    names = ", ".join(projects)
    how = "does short jobs at once" if is_instant else "launches their runs at once"
    line = f"Reacts to commits of {names} and {how}, with the instance in {folder}; Ctrl-C stops it"
    alone = [project for project in projects if not workspace.leases.is_held(sensor_lease(project))]
    if alone:
        line += f"\nNo commit sensor ticks for {', '.join(alone)}: start a daemon with this DAGSTER_HOME, which takes over what fails or is interrupted here"
    return line
