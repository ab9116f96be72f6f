"""Deployments and Services as Kubernetes writes them, read strictly, and the pods that they stand for on this machine."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from pachyderm_dagster.argo.containers import Container, UserContainer, Volume
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.parameters import Text
from pachyderm_dagster.argo.pod_settings import Values
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.reading import strict_reader
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.argo.this_machine import check_template
from pachyderm_dagster.argo.vocabulary import OTHER_NAMES
from pachyderm_dagster.pps.strict import OtherNames, Place

ROLLING, RECREATE = "RollingUpdate", "Recreate"
_POD_OF_ONE_MACHINE = "pods are processes of this machine"
_PORT_EXPECTED = "expected the number of a port, 1 to 65535"
_ASKED_AFTER = 1.0


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
    """Of `RollingUpdate`."""


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
    """Of it."""
    target_port: Text = ""
    """Of the pods, by number or name; the same without it."""
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


_OF_PODS = dict.fromkeys(
    (
        *("affinity", "nodeName", "nodeSelector", "tolerations", "topologySpreadConstraints", "schedulerName", "priorityClassName", "runtimeClassName"),
        *("serviceAccount", "serviceAccountName", "automountServiceAccountToken", "imagePullSecrets", "securityContext", "dnsConfig", "dnsPolicy"),
        *("hostNetwork", "enableServiceLinks", "preemptionPolicy", "shareProcessNamespace", "hostname", "subdomain"),
    ),
    _POD_OF_ONE_MACHINE,
)
_OF_CONTAINER = OTHER_NAMES[Container]
_OTHER_NAMES: Mapping[type, OtherNames] = {
    Container: replace(_OF_CONTAINER, told={name: why for name, why in _OF_CONTAINER.told.items() if name != "ports"}),
    PodSpec: OtherNames(
        without_effect=_OF_PODS,
        refused={
            "restartPolicy": "pods of a Deployment are always started again; leave it out",
            "activeDeadlineSeconds": "pods of a Deployment stay; leave it out",
            "hostAliases": "use addresses, or this machine's /etc/hosts",
            **dict.fromkeys(("hostPID", "hostIPC", "ephemeralContainers", "overhead", "os", "readinessGates"), "it is of clusters; leave it out"),
        },
        harmless={"restartPolicy": ("Always",)},
    ),
    Selector: OtherNames(refused={"matchExpressions": "write `matchLabels`"}),
    TemplateMetadata: OtherNames(without_effect={"creationTimestamp": "the cluster sets it", "name": "names of pods are made"}),
    DeploymentSpec: OtherNames(
        refused={
            "paused": "leave it out; a change is rolled out at once",
            "minReadySeconds": "let the readinessProbe tell; `successThreshold` has it tell later",
        }
    ),
    ServiceSpec: OtherNames(
        without_effect=dict.fromkeys(
            (
                *("type", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "externalTrafficPolicy", "sessionAffinity"),
                *("sessionAffinityConfig", "allocateLoadBalancerNodePorts", "loadBalancerClass", "publishNotReadyAddresses", "trafficDistribution"),
            ),
            "its ports are on 127.0.0.1",
        ),
        refused=dict.fromkeys(("externalName", "externalIPs", "loadBalancerIP", "loadBalancerSourceRanges"), "its ports are on 127.0.0.1; leave it out"),
    ),
    ServicePort: OtherNames(without_effect={"appProtocol": "bytes are handed on as they are"}),
}


def read_deployment(document: Any, place: Place, notes: list[str]) -> DeploymentSpec:
    """The `spec` of a Deployment.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    spec = strict_reader(notes, _OTHER_NAMES).struct(DeploymentSpec, document, place)
    if spec.strategy.type not in (ROLLING, RECREATE):
        raise place.field("strategy").field("type").invalid(f"{spec.strategy.type!r} is neither {ROLLING} nor {RECREATE}")
    template = place.field("template")
    labels = spec.template.metadata.labels
    if not spec.selector.match_labels or spec.selector.match_labels.items() - labels.items():
        raise place.field("selector").invalid("its labels must be among those of the template, and at least one")
    containers = template.field("spec").field("containers")
    if len(spec.template.spec.containers) != 1:
        raise containers.unsupported("a Deployment here has one container; make Deployments of the others")
    _check_container(spec.template.spec.containers[0], containers.item(0))
    pod = spec.template.spec
    check_template(Template(name=place.source, container=pod.containers[0], init_containers=pod.init_containers, volumes=pod.volumes))
    for name in ("maxSurge", "maxUnavailable"):
        value = spec.strategy.rolling_update.max_surge if name == "maxSurge" else spec.strategy.rolling_update.max_unavailable
        if value is not None and not re.fullmatch(r"[0-9]{1,6}%?", value):
            raise place.field("strategy").field("rollingUpdate").field(name).invalid(f"expected a number or a percentage, found {value!r}")
    return spec


_OF_PORT = {"name", "containerPort", "protocol"}


def _check_container(container: Container, place: Place) -> None:
    for index, port in enumerate(container.ports):
        found = place.field("ports").item(index)
        for name in port.keys() - _OF_PORT:
            raise found.field(name).unsupported(f"the fields here are {', '.join(sorted(_OF_PORT))}; what pods serve is on 127.0.0.1")
        if not _is_port(port.get("containerPort")):
            raise found.field("containerPort").invalid(_PORT_EXPECTED)
        if port.get("protocol", "TCP") != "TCP":
            raise found.field("protocol").unsupported("only TCP is handed on")
    for probe in ("httpGet", "tcpSocket"):
        asked = (container.readiness_probe or {}).get(probe)
        if asked is not None:
            _number_of(asked.get("port") if isinstance(asked, dict) else None, container, place.field("readinessProbe").field(probe).field("port"))


def _is_port(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 < number < 1 << 16


def read_service(document: Any, place: Place, notes: list[str]) -> ServiceSpec:
    """The `spec` of a Service. Errors as `read_deployment`."""
    spec = strict_reader(notes, _OTHER_NAMES).struct(ServiceSpec, document, place)
    for index, port in enumerate(spec.ports):
        found = place.field("ports").item(index)
        if port.protocol != "TCP":
            raise found.field("protocol").unsupported("only TCP is handed on")
        for name, number in (("port", port.port), ("nodePort", port.node_port)):
            if number is not None and not _is_port(number):
                raise found.field(name).invalid(_PORT_EXPECTED)
    return spec


def selects(service: ServiceSpec, deployment: DeploymentSpec) -> bool:
    """Whether a Service leads to the pods of a Deployment."""
    return bool(service.selector) and not service.selector.items() - deployment.template.metadata.labels.items()


def published_ports(deployment: DeploymentSpec, services: Mapping[str, ServiceSpec]) -> Iterator[tuple[int, int | str]]:
    """Ports of this machine, each with that of the container which it leads to: the name of one where none is called so."""
    leading = [service for service in services.values() if selects(service, deployment)]
    if not leading:
        yield from ((port, port) for port in deployment.ports)
    named = {port.get("name"): int(port["containerPort"]) for port in deployment.template.spec.containers[0].ports}
    for service in leading:
        for port in service.ports:
            target = port.target_port or str(port.port)
            yield port.node_port or port.port, int(target) if target.isdigit() else named.get(target, target)


def pod_of(name: str, spec: DeploymentSpec, *, config_maps: Values, secrets: Values, ports: Mapping[int, int], on_ready: Callable[[str], None]) -> Pod:
    """A pod of a Deployment: it counts as ready when its probe says so or, without one, when its first port is open.

    Args:
        ports: those of the machine that it listens on in place of its own.
    """
    pod = spec.template.spec
    (container,) = pod.containers
    probe = dict(container.readiness_probe or ({"tcpSocket": {"port": spec.ports[0]}, "periodSeconds": _ASKED_AFTER} if spec.ports else {}))
    for kind in ("httpGet", "tcpSocket"):
        if kind in probe:
            probe[kind] = {**probe[kind], "port": _number_of(probe[kind].get("port"), container, Place(name))}
    container = msgspec.structs.replace(container, readiness_probe=probe or None)
    template = Template(name=name, container=container, daemon=True, init_containers=pod.init_containers)
    return Pod(
        name=name,
        node=name,
        template=template,
        volumes=pod.volumes,
        config_maps=config_maps,
        secrets=secrets,
        labels=spec.template.metadata.labels,
        ports=ports,
        grace=spec.grace,
        on_ready=on_ready,
    )


def _number_of(port: Any, container: Container, place: Place) -> int:
    """The number of a port of a container, which may be named."""
    text = scalar_text(port) if port is not None else ""
    if text.isdigit():
        return int(text)
    found = next((one["containerPort"] for one in container.ports if one.get("name") == text), None)
    if found is None:
        raise place.invalid(f"{text!r} is neither a number nor the name of a port of the container")
    return int(found)


def _share(value: str | None, of: int, *, up: bool) -> int:
    text = "25%" if value is None else value
    if not text.endswith("%"):
        return int(text)
    whole = of * int(text[:-1])
    return -(-whole // 100) if up else whole // 100
