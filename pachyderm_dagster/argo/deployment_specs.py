"""The structs of Deployments and Services, as far as a home without a cluster has them."""

import msgspec

from pachyderm_dagster.argo.containers import Container, UserContainer, Volume
from pachyderm_dagster.argo.parameters import Text

ROLLING, RECREATE = "RollingUpdate", "Recreate"


class RollingUpdate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far the number of pods may be off while they are replaced; numbers, or shares in percent."""

    max_surge: Text | None = None
    """More than `replicas`."""
    max_unavailable: Text | None = None
    """Fewer that are ready."""


class Strategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How pods are replaced."""

    type: str = ROLLING
    """`RollingUpdate`, or `Recreate`: the old ones end first."""
    rolling_update: RollingUpdate = RollingUpdate()
    """How far the number of pods may be off, for `RollingUpdate`."""


class Selector(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which pods are meant."""

    match_labels: dict[str, Text] = {}
    """Labels that they have."""


class TemplateMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What pods are labelled with."""

    labels: dict[str, Text] = {}
    """By which Services and the Deployment find them."""
    annotations: dict[str, Text] = {}
    """Another one makes other pods."""


class PodSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a pod is."""

    containers: tuple[Container, ...]
    """One program that serves."""
    init_containers: tuple[UserContainer, ...] = ()
    """What is run before it, one after the other."""
    volumes: tuple[Volume, ...] = ()
    """Folders that they see."""
    termination_grace_period_seconds: int | None = None
    """How long connections may take to end, and then the program; 30 without it."""


class PodTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all pods of a Deployment are."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Their labels."""
    spec: PodSpec
    """What they run."""


class DeploymentSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a Deployment is to have."""

    selector: Selector
    """Labels of its pods."""
    template: PodTemplate
    """Its pods."""
    replicas: int | None = None
    """How many; 1 without it."""
    strategy: Strategy = Strategy()
    """How they are replaced."""
    progress_deadline_seconds: int | None = None
    """After so long without progress it is said to have failed; 600 without it."""
    revision_history_limit: int | None = None
    """How many older templates are kept to go back to; 10 without it."""

    @property
    def wanted(self) -> int:
        """How many pods."""
        return 1 if self.replicas is None else self.replicas

    @property
    def deadline(self) -> float:
        """Seconds without progress after which a rollout has failed."""
        return 600.0 if self.progress_deadline_seconds is None else float(self.progress_deadline_seconds)

    @property
    def grace(self) -> float:
        """Seconds that a pod has to end."""
        found = self.template.spec.termination_grace_period_seconds
        return 30.0 if found is None else float(found)

    @property
    def margins(self) -> tuple[int, int]:
        """How many pods more than wanted there may be, and how many fewer ready ones, as Kubernetes rounds."""
        if self.strategy.type == RECREATE:
            return 0, self.wanted
        rolling = self.strategy.rolling_update
        surge = _share(rolling.max_surge, self.wanted, up=True)
        unavailable = _share(rolling.max_unavailable, self.wanted, up=False)
        # Nothing would ever be replaced.
        return surge, unavailable if surge or unavailable else 1

    @property
    def ports(self) -> tuple[int, ...]:
        """Those that its container listens on."""
        return tuple(int(port["containerPort"]) for port in self.template.spec.containers[0].ports)


class ServicePort(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port of a Service."""

    port: int
    """Where it is reached on this machine."""
    name: str = ""
    """Its name."""
    target_port: Text = ""
    """The port of the pods, by number or name; the same without it."""
    node_port: int | None = None
    """Where it is reached in place of `port`."""
    protocol: str = "TCP"
    """`TCP`."""


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a Service is."""

    selector: dict[str, Text]
    """Labels of the pods that it leads to."""
    ports: tuple[ServicePort, ...]
    """Where it is reached, and where that leads."""


def _share(value: str | None, of: int, *, up: bool) -> int:
    text = "25%" if value is None else value
    if not text.endswith("%"):
        return int(text)
    whole = of * int(text[:-1])
    return -(-whole // 100) if up else whole // 100
