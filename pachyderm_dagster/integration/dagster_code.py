"""Code locations as Dagster's daemon and web server load them, which has no public name: the other half of `dagster_inner`, for a process that stays."""

import asyncio
import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click
import dagster as dg
from dagster._cli.workspace.cli_target import workspace_opts_to_load_target
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_graphql.schema import create_schema
from dagster_shared.cli import WorkspaceOpts

from pachyderm_dagster.errors import InvalidError, UnreachableError


@dataclass(frozen=True, slots=True)
class LoadedRepository:
    """The definitions of a code location; `graph` is of its assets, as `BranchAssets` takes it."""

    location: str
    name: str
    graph: Any
    sensors: Mapping[str, Mapping[str, str]]
    """The tags of each sensor."""


@dataclass(frozen=True, slots=True)
class CodeLocations:
    """The code locations of a workspace of Dagster."""

    _context: WorkspaceProcessContext

    def repositories(self) -> Iterator[LoadedRepository]:
        """Those that are loaded."""
        for name, entry in self._context.get_current_workspace().code_location_entries.items():
            if entry.code_location is not None:
                for repository in entry.code_location.get_repositories().values():
                    sensors = {sensor.name: dict(sensor.tags) for sensor in repository.get_sensors()}
                    yield LoadedRepository(name, repository.name, repository.asset_graph, sensors)

    def versions(self) -> tuple[object, ...]:
        """Others when something was loaded anew: by `reload`, or as a code server of the workspace file has other definitions."""
        return tuple(id(entry) for entry in self._context.get_current_workspace().code_location_entries.values())

    def problems(self) -> dict[str, str]:
        """Why code locations are not loaded, by name."""
        entries = self._context.get_current_workspace().code_location_entries
        return {name: _root(entry.load_error) for name, entry in entries.items() if entry.load_error is not None}

    def names(self) -> list[str]:
        """Of all code locations."""
        return list(self._context.get_current_workspace().code_location_entries)

    def reload(self, name: str) -> None:
        """Loads a code location's modules again, in a new process where this one started its server; `problems` says what fails."""
        with _problems_told_once():
            self._context.reload_code_location(name)

    def ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What a web server of these code locations answers.

        Raises:
            UnreachableError: `dagster-unreachable`.
        """
        request = self._context.create_request_context()
        result = asyncio.run(_schema().execute_async(query, context_value=request, variable_values=variables))
        if result.errors or result.data is None:
            raise UnreachableError("dagster-unreachable", f"Dagster refused a request: {result.errors}; see whether its databases can be written")
        return dict(result.data)

    def __enter__(self) -> Self:
        self._context.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._context.__exit__(*raised)


def open_code(instance: dg.DagsterInstance, options: Mapping[str, Any]) -> CodeLocations:
    """The code locations that the options of Dagster's command line name, for a `with` block; without any, those of `pyproject.toml` or `workspace.yaml` here.

    Raises:
        InvalidError: `workspace-unknown`.
    """
    try:
        target = workspace_opts_to_load_target(WorkspaceOpts.extract_from_cli_options(dict(options)))
    except click.UsageError as error:
        found = error.format_message().rstrip(".")
        wanted = "name the code as for `dagster dev`: -m MODULE, -f FILE, or -w workspace.yaml"
        raise InvalidError("workspace-unknown", f"{found}, in {Path.cwd()}; {wanted}") from error
    with _problems_told_once():
        return CodeLocations(WorkspaceProcessContext(instance, target, code_server_log_level="WARNING"))


@contextlib.contextmanager
def _problems_told_once() -> Iterator[None]:
    """The code server logs why it cannot load its code, with where that is; Dagster would warn of it once more."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Error loading repository location", category=UserWarning)
        yield


def _root(error: Any) -> str:
    """The innermost reason."""
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()


@functools.cache
def _schema() -> Any:
    return create_schema()
