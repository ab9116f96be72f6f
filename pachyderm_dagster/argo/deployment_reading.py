"""Deployments and Services as Kubernetes writes them, read strictly."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pachyderm_dagster.argo.containers import Container
from pachyderm_dagster.argo.deployment_specs import RECREATE, ROLLING, DeploymentSpec, PodSpec, Selector, ServicePort, ServiceSpec, TemplateMetadata
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.reading import strict_reader
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.argo.this_machine import check_template
from pachyderm_dagster.argo.vocabulary import OTHER_NAMES
from pachyderm_dagster.pps.strict import OtherNames, Place

PROBES = ("httpGet", "tcpSocket")
"""The kinds of probes that ask at a port."""
_POD_OF_ONE_MACHINE = "pods are processes of this machine"
_PORT_EXPECTED = "expected the number of a port, 1 to 65535"
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
            raise found.field("containerPort").invalid(f"{_PORT_EXPECTED}, found {port.get('containerPort')!r}")
        if port.get("protocol", "TCP") != "TCP":
            raise found.field("protocol").unsupported("only TCP is handed on")
    for probe in PROBES:
        asked = (container.readiness_probe or {}).get(probe)
        if asked is not None:
            port_number(asked.get("port") if isinstance(asked, dict) else None, container, place.field("readinessProbe").field(probe).field("port"))


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
                raise found.field(name).invalid(f"{_PORT_EXPECTED}, found {number!r}")
    return spec


def port_number(port: Any, container: Container, place: Place) -> int:
    """The number of a port of a container, which may be named.

    Raises:
        InvalidError: `spec-invalid`.
    """
    text = scalar_text(port) if port is not None else ""
    if text.isdigit():
        return int(text)
    found = next((one["containerPort"] for one in container.ports if one.get("name") == text), None)
    if found is None:
        names = joined([one["name"] for one in container.ports if "name" in one])
        raise place.invalid(f"{text!r} is neither a number nor the name of a port of the container; its names: {names}")
    return int(found)
