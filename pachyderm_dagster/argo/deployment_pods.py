"""The pods of this machine that a Deployment stands for."""

from collections.abc import Callable, Mapping

import msgspec

from pachyderm_dagster.argo.deployment_reading import PROBES, port_number
from pachyderm_dagster.argo.deployment_specs import DeploymentSpec
from pachyderm_dagster.argo.pod_settings import Values
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.pps.strict import Place

_ASKED_AFTER = 1.0
"""Seconds between looks whether the first port of a pod without a probe is open."""


def pod_of(name: str, spec: DeploymentSpec, *, config_maps: Values, secrets: Values, ports: Mapping[int, int], on_ready: Callable[[str], None]) -> Pod:
    """A pod of a Deployment: it counts as ready when its probe says so or, without one, when its first port is open.

    Args:
        ports: those of the machine that it listens on in place of its own.
    """
    pod = spec.template.spec
    (container,) = pod.containers
    probe = dict(container.readiness_probe or ({"tcpSocket": {"port": spec.ports[0]}, "periodSeconds": _ASKED_AFTER} if spec.ports else {}))
    for kind in PROBES:
        if kind in probe:
            probe[kind] = {**probe[kind], "port": port_number(probe[kind].get("port"), container, Place(name))}
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
