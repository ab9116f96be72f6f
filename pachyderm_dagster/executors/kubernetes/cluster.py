"""The API server, as much of it as is used here: objects are the plain dicts of their JSON."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import urllib3

from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.server import TIMEOUT, Refusals, Server, unreachable
from pachyderm_dagster.settings import KubernetesSettings

JOBS, DEPLOYMENTS, PODS, SECRETS, SERVICES, EVENTS = "jobs", "deployments", "pods", "secrets", "services", "events"
CONFIG_MAPS, CLAIMS = "configmaps", "persistentvolumeclaims"
"""The kinds of objects, all of the settings' namespace."""
WATCH_SECONDS = 300
PAGE = 200
"""So many objects are in one answer, where there may be thousands."""
_GROUPS = {JOBS: "/apis/batch/v1", DEPLOYMENTS: "/apis/apps/v1"}
_STRICT = [("fieldValidation", "Strict")]
"""Otherwise a field that the server does not know, as one that is misspelt, would be left out without a word."""
_TRIAL = [("dryRun", "All")]
_QUIET_SECONDS = 30
"""A watch that says nothing for so long beyond its end is broken."""
_GONE = 410


class WatchExpired(Exception):
    """What was watched from is no longer known; list again."""


class Cluster:
    """One namespace of a cluster.

    Every method raises `UnreachableError` `cluster-unreachable` when the API server does not answer, `ExecutionError` `cluster-denied` when it refuses.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self._namespace = settings.namespace
        self._server = Server(settings, Refusals(_missing, _unfit))

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object; None when there is none."""
        try:
            return self._ask("GET", kind, name)
        except NotFoundError:
            return None

    def list(self, kind: str, *, labels: str = "", fields: str = "", limit: int | None = None) -> Manifest:
        """The list as the API gives it, with its `metadata.resourceVersion`."""
        query = [("labelSelector", labels), ("fieldSelector", fields), ("limit", limit)]
        return self._ask("GET", kind, query=[(key, value) for key, value in query if value])

    def pages(self, kind: str, labels: str) -> Iterator[Manifest]:
        """The list as the API gives it, as it was at one time, in parts of some hundred objects."""
        after = ""
        while True:
            query = [("labelSelector", labels), ("limit", PAGE), *([("continue", after)] if after else [])]
            found = self._ask("GET", kind, query=query)
            yield found
            after = found["metadata"].get("continue", "")
            if not after:
                return

    def create(self, kind: str, body: Manifest) -> Manifest | None:
        """Makes an object; None when there is one of that name.

        Raises:
            InvalidError: `pod-refused`, when the server does not take it, or does not know a field of it.
        """
        try:
            return self._ask("POST", kind, query=_STRICT, body=body)
        except ConflictError:
            return None

    def try_create(self, kind: str, body: Manifest) -> None:
        """Has the server check an object as `create` does, and make nothing. Raises as that."""
        with contextlib.suppress(ConflictError):
            self._ask("POST", kind, query=[*_STRICT, *_TRIAL], body=body)

    def try_replace(self, kind: str, body: Manifest) -> None:
        """As `try_create`, of an object that is there; nothing when it is not as it was seen any more, or is gone."""
        with contextlib.suppress(ConflictError, NotFoundError):
            self._ask("PUT", kind, body["metadata"]["name"], query=[*_STRICT, *_TRIAL], body=body)

    def patch(self, kind: str, name: str, body: Manifest) -> None:
        """Changes an object by a merge patch."""
        self._ask("PATCH", kind, name, body=body, content_type="application/merge-patch+json")

    def replace(self, kind: str, body: Manifest) -> Manifest | None:
        """Makes an object what is given; None when it is not as it was seen, by `metadata.resourceVersion`, or is gone. Raises as `create`."""
        try:
            return self._ask("PUT", kind, body["metadata"]["name"], query=_STRICT, body=body)
        except (ConflictError, NotFoundError):
            return None

    def delete(self, kind: str, name: str, *, uid: str | None = None) -> None:
        """Removes an object and then, in the foreground, what it owns; nothing when it is gone, or when another one has its name by now."""
        body: Manifest = {"propagationPolicy": "Foreground"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._ask("DELETE", kind, name, body=body)
        except (NotFoundError, ConflictError):
            pass

    def read_log(self, pod: str, container: str) -> bytes:
        """What a container printed that runs, or has ended.

        Raises:
            InvalidError: `pod-refused`, when it has not begun.
            NotFoundError: `cluster-object-not-found`.
        """
        data: bytes = self._call("GET", PODS, f"{pod}/log", query=[("container", container)]).data
        return data

    def watch(self, kind: str, labels: str, version: str) -> "Watch":
        """The changes after a version, until the server ends the watch."""
        query = [("labelSelector", labels), ("resourceVersion", version), ("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", WATCH_SECONDS)]
        return Watch(kind, self._call("GET", kind, query=query, timeout=(TIMEOUT[0], WATCH_SECONDS + _QUIET_SECONDS), stream=True))

    def _ask(self, method: str, kind: str, name: str = "", **more: Any) -> Manifest:
        return self._server.ask_object(method, self._path(kind, name), _what(method, kind, name), **more)

    def _call(self, method: str, kind: str, name: str = "", **more: Any) -> Any:
        return self._server.ask(method, self._path(kind, name), _what(method, kind, name), **more)

    def _path(self, kind: str, name: str) -> str:
        return f"{_GROUPS.get(kind, '/api/v1')}/namespaces/{self._namespace}/{kind}" + (f"/{name}" if name else "")


class Watch:
    """The changes to objects of a kind, as (ADDED, MODIFIED, DELETED or BOOKMARK, object)."""

    def __init__(self, kind: str, response: Any) -> None:
        self._kind, self._response = kind, response

    def __iter__(self) -> Iterator[tuple[str, Manifest]]:
        """Raises `WatchExpired` when the version is too old, UnreachableError `cluster-unreachable` when the connection breaks."""
        try:
            for line in _lines(self._response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    if status.get("code") == _GONE:
                        raise WatchExpired
                    raise UnreachableError("cluster-unreachable", f"a watch of {self._kind} ended: {status.get('message')}")
                yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # Closed by another thread, or broken.
            raise unreachable(error) from error

    def interrupt(self) -> None:
        """Has the iteration end, from another thread."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._response.shutdown()

    def close(self) -> None:
        """Gives the connection back; by the thread that iterates."""
        self._response.close()


def _what(method: str, kind: str, name: str) -> str:
    return f"{method} {kind} {name}".rstrip()


def _missing(message: str) -> PachydermError:
    return NotFoundError("cluster-object-not-found", message)


def _unfit(message: str) -> PachydermError:
    return InvalidError("pod-refused", f"the cluster does not take what is asked of pods: {message}")


def _lines(response: Any) -> Iterator[bytes]:
    buffer = b""
    for piece in response.stream(amt=None, decode_content=False):
        *lines, buffer = (buffer + piece).split(b"\n")
        yield from (line for line in lines if line)
