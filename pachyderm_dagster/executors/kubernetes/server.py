"""Requests to the API server, as the kubeconfig or the service account of this pod says.

The client's own calls have changed with its releases; what it reads configuration with has not.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import kubernetes.client
import kubernetes.config
import urllib3
from kubernetes.config.config_exception import ConfigException

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import KUBECONFIG, KUBERNETES_CONTEXT, KubernetesSettings

_KUBECONFIG = Path("~/.kube/config")
_CONNECTIONS = 8
# Some releases of the client have types, some have none.
_client: Any = kubernetes.client
_config: Any = kubernetes.config


class Server:
    """The server and how this process is known to it."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._configuration = _configuration(settings)
        self._pool = _pool(self._configuration)

    def request(
        self, method: str, path: str, *, query: Sequence[tuple[str, Any]], body: Any, content_type: str, timeout: tuple[float, float], stream: bool
    ) -> Any:
        """The response, whatever its status; its body is there to be streamed, or whole in `data`.

        Raises:
            urllib3.exceptions.HTTPError: there is none.
        """
        headers = {"Accept": "application/json", **self._authorization()}
        data = None
        if body is not None:
            headers["Content-Type"], data = content_type, json.dumps(body).encode()
        return self._pool.request(
            method,
            self._configuration.host.rstrip("/") + path + ("?" + urlencode(query) if query else ""),
            headers=headers,
            body=data,
            timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
            preload_content=not stream,
            retries=False,
        )

    def _authorization(self) -> dict[str, str]:
        # Asked each time: a token of a service account is renewed by then.
        found = self._configuration.auth_settings().get("BearerToken") or {}
        return {found["key"]: found["value"]} if found.get("value") else {}


def _configuration(settings: KubernetesSettings) -> Any:
    configuration = _client.Configuration()
    try:
        if settings.kubeconfig or settings.context or _KUBECONFIG.expanduser().exists():
            files = settings.kubeconfig or str(_KUBECONFIG.expanduser())
            _config.load_kube_config(config_file=files, context=settings.context or None, client_configuration=configuration)
        else:
            _config.load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        problem = f"the cluster is not known: {error}"
        raise InvalidError("config-invalid", f"{problem}; set {KUBECONFIG}, and {KUBERNETES_CONTEXT} to one of its contexts") from error
    return configuration


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
