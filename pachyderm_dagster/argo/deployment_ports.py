"""At which ports of this machine the Deployments of a home are to be reached: a pure function."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pachyderm_dagster.argo.deployment_specs import DeploymentSpec, ServiceSpec
from pachyderm_dagster.argo.kept_deployment import KeptDeployment


@dataclass(frozen=True, slots=True)
class Routes:
    """Where ports of this machine lead.

    Attributes:
        targets: the Deployment, and the port of its container, by port of this machine.
        problems: why Deployments cannot be reached as it is wanted.
    """

    targets: dict[int, tuple[KeptDeployment, int]]
    problems: dict[KeptDeployment, list[str]]


def route(deployments: Iterable[KeptDeployment], services: Mapping[str, ServiceSpec]) -> Routes:
    """The routes. Of several Deployments that want one port the first by name has it."""
    found = Routes({}, {one: [] for one in sorted(deployments, key=lambda kept: kept.name)})
    for one, problems in found.problems.items():
        for port, inside in wanted_ports(one.spec, services):
            if isinstance(inside, str):
                problems.append(f"port {port} leads to port {inside!r}, and no port of the container is called so; give one that 'name'")
                continue
            other = found.targets.setdefault(port, (one, inside))[0]
            if other is not one:
                problems.append(f"port {port} leads to Deployment {other.name} already")
            if inside not in one.spec.ports:
                problems.append(f"port {port} leads to port {inside}, which the container does not declare; add it to its 'ports'")
    return found


def wanted_ports(deployment: DeploymentSpec, services: Mapping[str, ServiceSpec]) -> Iterator[tuple[int, int | str]]:
    """Ports of this machine, each with that of the container which it leads to: the name of one where none is called so."""
    leading = [service for service in services.values() if _selects(service, deployment)]
    if not leading:
        yield from ((port, port) for port in deployment.ports)
    named = {port.get("name"): int(port["containerPort"]) for port in deployment.template.spec.containers[0].ports}
    for service in leading:
        for port in service.ports:
            target = port.target_port or str(port.port)
            yield port.node_port or port.port, int(target) if target.isdigit() else named.get(target, target)


def _selects(service: ServiceSpec, deployment: DeploymentSpec) -> bool:
    """Whether a Service leads to the pods of a Deployment."""
    return bool(service.selector) and not service.selector.items() - deployment.template.metadata.labels.items()
