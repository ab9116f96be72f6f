"""What an executor is asked for, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pachyderm_dagster.argo.containers import Volume
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.argo.templates import Template

DEADLINE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class Pod:
    """A container or script to run, with all its tags replaced.

    Attributes:
        name: of the pod, no other of the workflow has it.
        node: the name of its node.
        template: what is run, with what is to be kept of it.
        artifacts: input artifacts, by name.
        volumes: those of the workflow and of the template.
        claims: names of volumes that are claims of the workflow.
        keeps_result: what it prints is wanted as a value.
        config_maps, secrets: what environment and volumes take values from.
    """

    name: str
    node: str
    template: Template
    artifacts: Mapping[str, KeptArtifact] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    claims: frozenset[str] = frozenset()
    keeps_result: bool = False
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod ended."""

    phase: Phase
    message: str = ""
    outputs: NodeOutputs = field(default_factory=NodeOutputs)


class Executor(Protocol):
    """Runs pods. A call that is cancelled ends its pod; one that raises a PachydermError could not run it."""

    async def run(self, pod: Pod) -> PodEnd:
        """Runs a pod to its end."""
        ...
