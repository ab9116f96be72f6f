"""A Deployment as its keeper knows it: its pods, how far its rollout is, and the status that says so."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pachyderm_dagster.argo.deployment_specs import DeploymentSpec
from pachyderm_dagster.argo.published_ports import Connections
from pachyderm_dagster.argo.rolling import Standing
from pachyderm_dagster.executors.backoff import RestartHistory

TOO_LATE = "ProgressDeadlineExceeded"


@dataclass(eq=False, slots=True)
class KeptPod:
    """A pod, which runs, or waits for its next start.

    Attributes:
        digest: of its template.
        ports: of the machine, by those of the container.
        running: None while none of it runs.
        due: when it may be started.
    """

    name: str
    digest: str
    spec: DeploymentSpec
    connections: Connections
    ports: dict[int, int] = field(default_factory=dict)
    running: asyncio.Task[str] | None = None
    is_ready: bool = False
    is_ending: bool = False
    started: float = 0.0
    due: float = 0.0
    history: RestartHistory = field(default_factory=RestartHistory)

    @property
    def trouble(self) -> str:
        """Why it does not serve; empty when it does."""
        if self.is_ready:
            return ""
        if self.running is None:
            again = f", started again {self.history.restarts} times" if self.history.restarts > 1 else ""
            return f"pod {self.name}: {self.history.reason}{again}"
        before = f" (before that: {self.history.reason})" if self.history.reason else ""
        return f"pod {self.name} is not ready yet{before}"


@dataclass(eq=False, slots=True)
class KeptDeployment:
    """A Deployment with its pods.

    Attributes:
        document: as it is kept now.
        digest: of the template that is wanted.
        progressed: when the rollout last came nearer to its end.
        hindered: why none of its pods can be started; empty when they can.
        unpublished: why it cannot be reached at which of its ports.
    """

    name: str
    document: dict[str, Any]
    spec: DeploymentSpec
    digest: str
    progressed: float
    pods: list[KeptPod] = field(default_factory=list)
    hindered: str = ""
    unpublished: list[str] = field(default_factory=list)
    _far: tuple[Any, ...] = ()

    @property
    def staying(self) -> list[KeptPod]:
        """Its pods without those that are about to end."""
        return [pod for pod in self.pods if not pod.is_ending]

    def standing(self) -> list[Standing]:
        """How its pods are."""
        return [Standing(pod.name, pod.digest == self.digest, pod.is_ready) for pod in self.staying]

    def note_progress(self, now: float) -> None:
        """Looks how far the rollout is. What was reached once counts as progress once only, so that pods that come and go are none."""
        new = [pod for pod in self.staying if pod.digest == self.digest]
        asked = (self.document["metadata"]["generation"], self.digest)
        far = (len(new), sum(pod.is_ready for pod in new), -(len(self.staying) - len(new)))
        before = self._far[1] if self._far and self._far[0] == asked else None
        if before is None or any(one > other for one, other in zip(far, before, strict=True)):
            self.progressed = now
        self._far = asked, far if before is None else tuple(max(pair) for pair in zip(far, before, strict=True))

    def status(self, now: float) -> dict[str, Any]:
        """The status, in the form that Kubernetes gives it; numbers that are 0 are left out, as there."""
        staying = self.staying
        new = [pod for pod in staying if pod.digest == self.digest]
        ready = sum(pod.is_ready for pod in staying)
        counts = {
            "replicas": len(staying),
            "updatedReplicas": len(new),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, self.spec.wanted - ready),
        }
        return {
            "observedGeneration": self.document["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
            "conditions": [self._available(ready), self._progressing(new, now), *self._published()],
        }

    def _available(self, ready: int) -> dict[str, str]:
        enough = ready >= self.spec.wanted - self.spec.margins[1]
        reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        return _condition("Available", enough, reason, f"{ready} of {self.spec.wanted} pods serve")

    def _progressing(self, new: list[KeptPod], now: float) -> dict[str, str]:
        if len(new) == len(self.staying) == self.spec.wanted and all(pod.is_ready for pod in new):
            return _condition("Progressing", True, "NewReplicaSetAvailable", "all pods are of the newest template, and serve")
        troubles = self.hindered or _listed(pod.trouble for pod in new if pod.trouble) or "pods are started and ended"
        if now - self.progressed >= self.spec.deadline:
            return _condition("Progressing", False, TOO_LATE, f"no progress for {self.spec.deadline:g} s: {troubles}")
        return _condition("Progressing", True, "ReplicaSetUpdated", troubles)

    def _published(self) -> list[dict[str, str]]:
        return [_condition("Published", False, "PortTaken", _listed(self.unpublished))] if self.unpublished else []


def _condition(kind: str, holds: bool, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": str(holds), "reason": reason, "message": message}


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(texts)
