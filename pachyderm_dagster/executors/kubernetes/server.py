"""Requests to the API server, as the kubeconfig or the service account of this pod says.

The client's own calls have changed with its releases; what it reads configuration with has not.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kubernetes.client
import kubernetes.config
import urllib3
import yaml
from kubernetes.config.config_exception import ConfigException

from pachyderm_dagster.errors import ConflictError, ExecutionError, InvalidError, PachydermError, UnreachableError
from pachyderm_dagster.settings import KUBECONFIG, KUBERNETES_CONTEXT, KubernetesSettings

TIMEOUT = (5, 30)
"""Seconds to connect, and to wait for more of an answer."""
JSON = "application/json"
_FIRST_REFUSAL = 400
_KUBECONFIG = Path("~/.kube/config")
_CONNECTIONS = 8
_NO_CONFIGURATION = (ConfigException, OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError)
"""What the client raises for files that are none, or hold something else: it looks at little before it uses it."""
# Some releases of the client have types, some have none.
_client: Any = kubernetes.client
_config: Any = kubernetes.config


@dataclass(frozen=True, slots=True)
class Refusals:
    """The errors, by the server's message, of what is not there and of what it does not take."""

    missing: Callable[[str], PachydermError]
    unfit: Callable[[str], PachydermError]


class Server:
    """The server and how this process is known to it."""

    def __init__(self, settings: KubernetesSettings, refusals: Refusals) -> None:
        self._configuration = _configuration(settings)
        self._pool = _pool(self._configuration)
        self._refusals = refusals

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Sequence[tuple[str, Any]] = (),
        body: Any = None,
        content_type: str = JSON,
        timeout: tuple[float, float] = TIMEOUT,
        stream: bool = False,
    ) -> Any:
        """The response, whose body is there to be streamed, or whole in `data`; `what` is for messages.

        Raises:
            PachydermError: those of `Refusals`.
            ConflictError: `cluster-conflict`.
            ExecutionError: `cluster-denied`.
            UnreachableError: `cluster-unreachable`.
        """
        headers = {"Accept": JSON, **self._authorization()}
        data = None
        if body is not None:
            headers["Content-Type"], data = content_type, json.dumps(body).encode()
        try:
            response = self._pool.request(
                method,
                self._configuration.host.rstrip("/") + path + ("?" + urlencode(query) if query else ""),
                headers=headers,
                body=data,
                timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
                preload_content=not stream,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(error) from error
        if response.status >= _FIRST_REFUSAL:
            raise self._refusal(response, what)
        return response

    def ask_object(self, method: str, path: str, what: str, **more: Any) -> dict[str, Any]:
        """The object that the server answers with. As `ask`; what is no object, as the page of a proxy, is an answer of no API server."""
        data = self.ask(method, path, what, **more).data
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            problem = f"what answered to {what} is no API server: it said {data[:100]!r}"
            raise UnreachableError("cluster-unreachable", f"{problem}; check KUBECONFIG, and proxies on the way; it is asked again by the next try")
        return found

    def _refusal(self, response: Any, what: str) -> PachydermError:
        message = _message(response)
        match response.status:
            case 404:
                return self._refusals.missing(message)
            case 409:
                return ConflictError("cluster-conflict", message)
            case 400 | 422:
                return self._refusals.unfit(message)
            case 401 | 403:
                return ExecutionError("cluster-denied", f"the cluster refused {what}: {message}; give this account the right, or name another account")
            case status:
                return UnreachableError("cluster-unreachable", f"the API server answered {status} to {what}: {message}; it is asked again by the next try")

    def _authorization(self) -> dict[str, str]:
        # Asked each time: a token of a service account is renewed by then.
        found = self._configuration.auth_settings().get("BearerToken") or {}
        return {found["key"]: found["value"]} if found.get("value") else {}


def unreachable(error: Exception) -> UnreachableError:
    """The error of a server that does not answer."""
    return UnreachableError("cluster-unreachable", f"the API server does not answer: {error}; check that the cluster is up, and KUBECONFIG")


def _message(response: Any) -> str:
    try:
        return str(json.loads(response.data)["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.reason)


def _configuration(settings: KubernetesSettings) -> Any:
    configuration = _client.Configuration()
    try:
        if settings.kubeconfig or settings.context or _KUBECONFIG.expanduser().exists():
            files = settings.kubeconfig or str(_KUBECONFIG.expanduser())
            _config.load_kube_config(config_file=files, context=settings.context or None, client_configuration=configuration)
        else:
            _config.load_incluster_config(client_configuration=configuration)
    except _NO_CONFIGURATION as error:
        raise _unknown(settings, " ".join(str(error).split())) from error
    if not str(configuration.host).startswith(("https://", "http://")):
        raise _unknown(settings, f"its server is {configuration.host!r}, which is no URL")
    return configuration


def _unknown(settings: KubernetesSettings, why: str) -> InvalidError:
    problem = f"the cluster is not known from the kubeconfig {settings.kubeconfig or _KUBECONFIG}: {why}"
    return InvalidError("config-invalid", f"{problem}; set {KUBECONFIG}, and {KUBERNETES_CONTEXT} to one of its contexts")


def _pool(configuration: Any) -> Any:
    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "cert_reqs": "CERT_REQUIRED" if configuration.verify_ssl else "CERT_NONE"}
    options |= {
        name: value
        for name, value in (
            ("ca_certs", configuration.ssl_ca_cert),
            ("cert_file", configuration.cert_file),
            ("key_file", configuration.key_file),
            ("server_hostname", configuration.tls_server_name),
        )
        if value
    }
    if configuration.proxy:
        return urllib3.ProxyManager(configuration.proxy, proxy_headers=configuration.proxy_headers, **options)
    return urllib3.PoolManager(**options)
