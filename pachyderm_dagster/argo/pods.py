"""What an executor is asked for, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pachyderm_dagster.argo.containers import Volume
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.argo.templates import Template

LOGS = "main-logs"
"""The artifact that a log is."""
DEADLINE = "Pod was active on the node longer than the specified deadline"


def _nobody_asks(_why: str) -> None:
    pass


def _nobody_waits(_ip: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Pod:
    """A template that is a pod, with all its tags replaced.

    Attributes:
        name: of the pod, no other of the workflow has it.
        node: the name of its node.
        template: what is run, with what is to be kept of it.
        namespace: what the workflow says of that.
        artifacts: input artifacts, by name.
        volumes: those of the workflow and of the template.
        claims: names of volumes that are claims of the workflow.
        keeps_result: what it prints is wanted as a value.
        config_maps, secrets: what environment and volumes take values from.
        archives_log: its log is to be the artifact `main-logs`.
        pod_spec, labels, annotations: what workflow and template say of pods of Kubernetes; one machine does without.
        pod_spec_patches: YAML or JSON texts that are merged over the spec of such a pod, one after the other.
        ports: in place of which port which other one of the machine is taken, where it listens and on the loopback.
        grace: seconds that a container has to end on this machine.
        on_ready: of a daemon: is called, with its address, when others may use it.
        on_waiting: is called when that changes which keeps the pod from starting, with an empty text when nothing does any more.
    """

    name: str
    node: str
    template: Template
    namespace: str = "default"
    artifacts: Mapping[str, KeptArtifact] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    claims: frozenset[str] = frozenset()
    keeps_result: bool = False
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    archives_log: bool = False
    pod_spec: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    pod_spec_patches: tuple[str, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    grace: float = 2.0
    on_ready: Callable[[str], None] = _nobody_waits
    on_waiting: Callable[[str], None] = _nobody_asks


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container ended; without an exit code it did not run."""

    phase: Phase
    message: str = ""
    exit_code: str | None = None


def _nobody_keeps() -> None:
    pass


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod ended.

    Attributes:
        containers: those of a `containerSet`, by name.
        on_kept: is called when all of this is kept, so that what is left of the pod may go.
    """

    phase: Phase
    message: str = ""
    outputs: NodeOutputs = field(default_factory=NodeOutputs)
    containers: Mapping[str, ContainerEnd] = field(default_factory=dict)
    on_kept: Callable[[], None] = field(default=_nobody_keeps, compare=False)


class Executor(Protocol):
    """Runs pods. A call that is cancelled ends its pod; one that raises a PachydermError could not run it.

    Attributes:
        keeps_deadlines: whether `activeDeadlineSeconds` of a pod end it, from when it is on a node; otherwise whoever calls sees to it.
    """

    keeps_deadlines: bool

    async def run(self, pod: Pod) -> PodEnd:
        """Runs a pod to its end."""
        ...
