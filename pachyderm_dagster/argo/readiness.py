"""When a daemon is ready: its readiness probe as a program that is run in its pod, as often as Kubernetes would."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.argo.images import FOLDER
from pachyderm_dagster.errors import InvalidError

_PYTHON = f"{FOLDER}/python/python3"
# Of the addresses of a pod only this machine's own is reached: all pods share it.
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))"
_FETCH = "import ssl, sys, urllib.request as u; c = ssl._create_unverified_context(); u.urlopen(sys.argv[1], timeout=float(sys.argv[2]), context=c)"
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Probe:
    """What is run, how long to wait (before the first time, and between two times), how often it must succeed, and after which time it has failed.

    Attributes:
        limit: None where the program itself ends by then.
    """

    argv: tuple[str, ...]
    first_wait: float
    wait: float
    successes: int
    limit: float | None


def probe_of(found: Mapping[str, Any]) -> Probe:
    """The probe that a container's `readinessProbe` says.

    Raises:
        InvalidError: `probe-invalid`.
    """
    try:
        timeout = float(found.get("timeoutSeconds") or 1)
        return Probe(
            _argv(found, str(timeout)),
            float(found.get("initialDelaySeconds") or 0),
            float(found.get("periodSeconds") or 10),
            int(found.get("successThreshold") or 1),
            timeout if "exec" in found else None,
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidError(
            "probe-invalid", f"the readinessProbe is not understood ({error!r}); give httpGet, tcpSocket or exec as Kubernetes has them"
        ) from error


def _argv(found: Mapping[str, Any], timeout: str) -> tuple[str, ...]:
    if "httpGet" in found:
        get = found["httpGet"]
        scheme = str(get.get("scheme") or "http").lower()
        path = "/" + str(get.get("path") or "").lstrip("/")
        return (_PYTHON, "-c", _FETCH, f"{scheme}://{get.get('host') or ADDRESS}:{int(get['port'])}{path}", timeout)
    if "tcpSocket" in found:
        socket = found["tcpSocket"]
        return (_PYTHON, "-c", _CONNECT, str(socket.get("host") or ADDRESS), str(int(socket["port"])), timeout)
    if "exec" in found:
        return tuple(map(str, found["exec"]["command"]))
    raise InvalidError("probe-invalid", "the readinessProbe has none of httpGet, tcpSocket and exec; give one")
