"""What work costs a cluster, as the cluster itself counts it: requests to its API server, and seconds of processors in pods."""

import re
import resource
import time
from dataclasses import dataclass
from functools import partial
from typing import Self

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.executors.kubernetes.server import Refusals, Server
from pachyderm_dagster.settings import KubernetesSettings

_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)(?: (\d+))?$", re.MULTILINE)
_PODS = re.compile(r'id="[^"]*/kubepods(?:\.slice)?"')
_LOOK_SECONDS = 1.0
_BACKGROUND_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """So much since the cluster began, at a moment.

    Attributes:
        requests: to the API server, by anybody: also by the cluster's own programs.
        pod_seconds: of processors, in pods.
        own_seconds: of processors, in this process and those that it waited for.
        at: seconds.
    """

    requests: float
    pod_seconds: float
    own_seconds: float
    at: float

    def __sub__(self, before: Self) -> "Load":
        return Load(self.requests - before.requests, self.pod_seconds - before.pod_seconds, self.own_seconds - before.own_seconds, self.at - before.at)

    @property
    def seconds(self) -> float:
        """Of all processors."""
        return self.pod_seconds + self.own_seconds


class ClusterLoad:
    """Reads it, with the rights of an administrator."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._server = open_server(settings)
        self.idle_requests = self._idle_requests()
        """A second, of a cluster in which nothing happens."""

    def now(self) -> Load:
        """The load up to now. Takes some seconds: kubelets look at their pods now and then."""
        at, own = time.time(), own_seconds()
        return Load(self._requests(), sum(self._pod_seconds(node, at) for node in self.nodes()), own, at)

    def requests_of(self, load: Load) -> float:
        """Those that the cluster does not make by itself."""
        return load.requests - self.idle_requests * load.at

    def _idle_requests(self) -> float:
        before = self._requests()
        time.sleep(_BACKGROUND_SECONDS)
        return (self._requests() - before) / _BACKGROUND_SECONDS

    def _requests(self) -> float:
        return sum(float(value) for name, _, value, _ in _SAMPLE.findall(self._read("/metrics")) if name == "apiserver_request_total")

    def nodes(self) -> list[str]:
        """Their names."""
        return re.findall(r'"name":"([^"]+)","uid"', self._read("/api/v1/nodes"))

    def _pod_seconds(self, node: str, since: float) -> float:
        """As the kubelet of a node saw it at some moment after `since`."""
        while True:
            found = _SAMPLE.findall(self._read(f"/api/v1/nodes/{node}/proxy/metrics/cadvisor"))
            samples = [
                (float(value), int(at) / 1000) for name, labels, value, at in found if name == "container_cpu_usage_seconds_total" and _PODS.search(labels)
            ]
            if samples and max(at for _, at in samples) > since:
                return max(value for value, _ in samples)
            time.sleep(_LOOK_SECONDS)

    def _read(self, path: str) -> str:
        return self._server.ask("GET", path, f"GET {path}").data.decode()  # type: ignore[no-any-return]


def open_server(settings: KubernetesSettings) -> Server:
    """The API server."""
    return Server(settings, Refusals(partial(NotFoundError, "cluster-object-not-found"), partial(InvalidError, "pod-refused")))


def own_seconds() -> float:
    """Of processors: this process and those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
