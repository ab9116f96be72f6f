"""What a spec says of pods: read and kept on one machine, and of effect on Kubernetes only."""

import enum
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec

Quantity: TypeAlias = Annotated[str, "quantity"]
MAX_QUANTITY = 2**63 - 1

_FACTORS: Mapping[str, float] = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    **{letter: 1000.0**power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)},
}


def quantity_value(text: Quantity) -> float:
    """The number that a quantity of Kubernetes stands for: `512Mi`, `2G`, `1e9`; 0 for an empty one."""
    number = text.rstrip("numkMGTPEKi")
    return float(number or 0) * _FACTORS[text.removeprefix(number)]


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the pods are marked with."""

    annotations: dict[str, str] = {}
    """Of pods and services."""
    labels: dict[str, str] = {}
    """Of pods and services."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices of one kind."""

    type: str = "nvidia.com/gpu"
    """The name under which the cluster has them."""
    number: int = 0
    """How many. A number in place of the object is this one."""


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a container asks for or may use, in Kubernetes' quantities."""

    cpu: float = 0.0
    """Processors."""
    memory: Quantity = ""
    """Such as `512Mi`."""
    disk: Quantity = ""
    """Such as `10Gi`."""
    gpu: Gpu | None = None
    """Devices."""


class SchedulingSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where pods go."""

    node_selector: dict[str, str] = {}
    """Labels that the node has."""
    priority_class_name: str = ""
    """Of the pods."""


class TolerationOperator(enum.StrEnum):
    """How a toleration compares."""

    EXISTS = "EXISTS"  # the taint's key is there
    EQUAL = "EQUAL"  # key and value are the same


class TaintEffect(enum.StrEnum):
    """Which taints a toleration is about."""

    ALL_EFFECTS = "ALL_EFFECTS"
    NO_SCHEDULE = "NO_SCHEDULE"  # no new pods
    PREFER_NO_SCHEDULE = "PREFER_NO_SCHEDULE"  # no new pods while there is another node
    NO_EXECUTE = "NO_EXECUTE"  # running pods leave too


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A taint that the pods bear."""

    operator: TolerationOperator
    """Whether the taint's key is enough, or its value has to be equal."""
    key: str = ""
    """Of the taint; all of them without it."""
    value: str = ""
    """Of the taint."""
    effect: TaintEffect = TaintEffect.ALL_EFFECTS
    """Which taints it is about."""
    toleration_seconds: int | None = None
    """For how long, under `NO_EXECUTE`; without it for ever."""
