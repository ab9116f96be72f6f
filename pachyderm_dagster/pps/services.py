"""What a specification says of code that runs on: a service, which serves the newest commit of its input, and a spout, which writes commits of its own."""

import enum

import msgspec


class ServiceType(enum.StrEnum):
    """How Kubernetes exposes a port."""

    NODE_PORT = "NodePort"
    CLUSTER_IP = "ClusterIP"
    LOAD_BALANCER = "LoadBalancer"


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The port that the code listens on, and how it is reached."""

    internal_port: int = 0
    """Where the code listens; required unless there is an `external_port`."""
    external_port: int = 0
    """Of the Service on Kubernetes, and of the nodes under `NodePort`; without `internal_port` where the code listens. On one machine nothing is between."""
    ip: str = ""
    """Of the Service on Kubernetes: its `loadBalancerIP`, or else its `clusterIP`. Without effect on one machine."""
    type: ServiceType = ServiceType.NODE_PORT
    """How Kubernetes exposes the port; without effect on one machine."""

    @property
    def port(self) -> int:
        """Where the code listens. On one machine nothing stands between that port and those who use it."""
        return self.internal_port or self.external_port


class Spout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Code without an input, which writes to its output branch as any client does."""

    service: Service | None = None
    """The port that it listens on, if it does."""
