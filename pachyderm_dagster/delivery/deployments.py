"""The Deployments of a namespace and their pods, as the API server has them: plain dicts of their JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import urllib3

from pachyderm_dagster.errors import ConflictError, ExecutionError, InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.executors.kubernetes.server import Server
from pachyderm_dagster.settings import KubernetesSettings

Manifest: TypeAlias = dict[str, Any]
_TIMEOUT = (5, 30)
_FIRST_REFUSAL = 400
_JSON, _STRATEGIC = "application/json", "application/strategic-merge-patch+json"


class Deployments:
    """What is asked of a cluster about them.

    Every method raises `UnreachableError` `cluster-unreachable` when the API server does not answer, `ExecutionError` `cluster-denied` when it refuses.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self.namespace = settings.namespace
        self._server = Server(settings)

    def get(self, name: str) -> Manifest:
        """The Deployment.

        Raises:
            NotFoundError: `deployment-not-found`.
        """
        return self._object("GET", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")

    def patch(self, name: str, body: Manifest) -> Manifest:
        """Changes a Deployment by a strategic merge patch; returns it as it is then.

        Raises:
            ConflictError: `cluster-conflict`, when it is not the version that the patch names.
            InvalidError: `deployment-refused`.
            NotFoundError: `deployment-not-found`.
        """
        return self._object("PATCH", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}", body=body)

    def pods(self, labels: Mapping[str, str]) -> list[Manifest]:
        """The pods that have all of these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found: list[Manifest] = self._object("GET", f"/api/v1/namespaces/{self.namespace}/pods", query=[("labelSelector", selector)])["items"]
        return found

    def log(self, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """The last lines that a container wrote; those of the one before it, which ended, when `previous`. Empty when there is none to read."""
        query = [("container", container), ("tailLines", lines), ("previous", "true" if previous else "false")]
        try:
            data: bytes = self._ask("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log", query=query).data
        except (NotFoundError, InvalidError):
            return ""
        return data.decode(errors="replace")

    def _object(self, method: str, path: str, *, query: Sequence[tuple[str, Any]] = (), body: Manifest | None = None) -> Manifest:
        found: Manifest = json.loads(self._ask(method, path, query=query, body=body).data)
        return found

    def _ask(self, method: str, path: str, *, query: Sequence[tuple[str, Any]] = (), body: Manifest | None = None) -> Any:
        content = _STRATEGIC if method == "PATCH" else _JSON
        try:
            response = self._server.request(method, path, query=query, body=body, content_type=content, timeout=_TIMEOUT, stream=False)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError("cluster-unreachable", f"the API server does not answer: {error}; check that the cluster is up, and KUBECONFIG") from error
        if response.status >= _FIRST_REFUSAL:
            raise _refusal(response, f"{method} {path}")
        return response


def _refusal(response: Any, what: str) -> PachydermError:
    message = _message(response)
    match response.status:
        case 404:
            return NotFoundError("deployment-not-found", f"{message}; name a Deployment of the namespace, or another namespace")
        case 409:
            return ConflictError("cluster-conflict", message)
        case 400 | 422:
            return InvalidError("deployment-refused", f"the cluster does not take the change of the Deployment: {message}")
        case 401 | 403:
            return ExecutionError("cluster-denied", f"the cluster refused {what}: {message}; give this account the right, or name another account")
        case status:
            return UnreachableError("cluster-unreachable", f"the API server answered {status} to {what}: {message}; it is asked again by the next try")


def _message(response: Any) -> str:
    try:
        return str(json.loads(response.data)["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.reason)
