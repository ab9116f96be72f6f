"""The Deployments of a namespace and their pods, as the API server has them: plain dicts of their JSON."""

from collections.abc import Mapping
from typing import Any

from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.server import Refusals, Server
from pachyderm_dagster.settings import KubernetesSettings

# Only a patch has a body.
_STRATEGIC = "application/strategic-merge-patch+json"


class Deployments:
    """What is asked of a cluster about them.

    Every method raises `UnreachableError` `cluster-unreachable` when the API server does not answer, `ExecutionError` `cluster-denied` when it refuses.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self.namespace = settings.namespace
        self._server = Server(settings, Refusals(_missing, _unfit))

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
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        query = [("container", container), ("tailLines", lines), ("previous", "true" if previous else "false")]
        try:
            data: bytes = self._server.ask("GET", path, f"GET {path}", query=query).data
        except (NotFoundError, InvalidError):
            return ""
        return data.decode(errors="replace")

    def _object(self, method: str, path: str, **more: Any) -> Manifest:
        return self._server.ask_object(method, path, f"{method} {path}", content_type=_STRATEGIC, **more)


def _missing(message: str) -> PachydermError:
    return NotFoundError("deployment-not-found", f"{message}; name a Deployment of the namespace, or another namespace")


def _unfit(message: str) -> PachydermError:
    return InvalidError("deployment-refused", f"the cluster does not take the change of the Deployment: {message}")
