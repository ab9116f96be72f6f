"""The few things that are asked of Dagster in GraphQL: of its web server over http, or of whoever answers as that does."""

import functools
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pachyderm_dagster.errors import ExecutionError, UnreachableError

TIMEOUT_SECONDS = 60.0
Ask: TypeAlias = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Answers a query with its variables."""
REPOSITORY = "__repository__"
"""What Dagster calls the definitions of a module."""
_RELOAD = """
mutation Reload($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) {
    __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
    ... on PythonError { message }
  }
}
"""
_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PipelineNotFoundError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"


def is_up(url: str) -> bool:
    """Whether a web server of Dagster answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
            return bool(json.load(answer).get("dagster_version"))
    except (OSError, ValueError, http.client.HTTPException):
        return False


def is_loaded(url: str) -> bool:
    """Whether every code location of the web server at `url` is loaded.

    Raises:
        UnreachableError: `dagster-unreachable`.
    """
    entries = _ask(url, _LOADED, {})["workspaceOrError"].get("locationEntries", [])
    return bool(entries) and all(
        entry["loadStatus"] == "LOADED" and (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for entry in entries
    )


def reload_location(url: str, location: str) -> str | None:
    """Has a code location loaded again; None when that worked, otherwise why it did not.

    Raises:
        UnreachableError: `dagster-unreachable`.
    """
    result = _ask(url, _RELOAD, {"name": location})["reloadRepositoryLocation"]
    loaded = result.get("locationOrLoadError") or result
    if loaded["__typename"] == "RepositoryLocation":
        return None
    return str(loaded.get("message", loaded["__typename"])).strip()


def asking(url: str) -> Ask:
    """Asks the web server at `url`; raises UnreachableError `dagster-unreachable`."""
    return functools.partial(_ask, url)


def launch_run(ask: Ask, location: str, job: str, assets: Iterable[Sequence[str]], tags: Mapping[str, str], *, repository: str = REPOSITORY) -> str:
    """Has these assets of a job run, with these tags; the id of the run, which waits in the queue or has begun.

    Raises:
        UnreachableError: as `ask`.
        ExecutionError: `run-refused`.
    """
    selector = {
        "repositoryLocationName": location,
        "repositoryName": repository,
        "jobName": job,
        "assetSelection": [{"path": list(path)} for path in assets],
    }
    given = {"selector": selector, "mode": "default", "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]}}
    result = ask(_LAUNCH, {"parameters": given})["launchRun"]
    if result["__typename"] != "LaunchRunSuccess":
        why = result.get("message") or result.get("errors") or result["__typename"]
        raise ExecutionError("run-refused", f"Dagster started no run of job {job}: {why}; reload code location {location} in the UI, and see whether it loads")
    return str(result["run"]["runId"])


def _ask(url: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            result = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError("dagster-unreachable", f"Dagster's web server at {url} does not answer: {error}; is `dev` still up?") from error
    if "data" not in result or result["data"] is None:
        raise UnreachableError("dagster-unreachable", f"Dagster's web server at {url} refused a request: {result.get('errors')}; see its log")
    return dict(result["data"])
