"""How pods of a Deployment are replaced by turns: what to start and what to end now, as Kubernetes counts."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """A pod that is not about to end: its name, whether it is of the template that is wanted now, and whether it serves."""

    name: str
    is_new: bool
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """How many pods of the wanted template to start, and which pods to end."""

    starts: int = 0
    ends: tuple[str, ...] = ()


def next_turn(pods: Sequence[Standing], wanted: int, *, surge: int, unavailable: int) -> Turn:
    """What comes next, while new pods are to take the place of old ones.

    Args:
        surge: how many more than wanted there may be.
        unavailable: how many fewer than wanted may be ready.
    """
    new, old = [pod for pod in pods if pod.is_new], [pod for pod in pods if not pod.is_new]
    surplus = sorted(new, key=lambda pod: pod.is_ready)[: max(0, len(new) - wanted)]
    staying = [pod for pod in new if pod not in surplus]
    starts = max(0, min(wanted - len(staying), wanted + surge - len(staying) - len(old)))
    return Turn(starts, tuple(pod.name for pod in [*surplus, *_replaced(staying, old, wanted - unavailable)]))


def _replaced(new: Sequence[Standing], old: Sequence[Standing], least: int) -> list[Standing]:
    """The old pods that are not needed any more. One that does not serve may come back, so it goes only when there are enough without it."""
    unready_new = sum(not pod.is_ready for pod in new)
    most = len(new) + len(old) - least - unready_new
    gone = [pod for pod in old if not pod.is_ready][: max(0, most)]
    ready = [pod for pod in old if pod.is_ready]
    spare = sum(pod.is_ready for pod in new) + len(ready) - least
    return gone + ready[: max(0, min(spare, most - len(gone)))]


def recreated(pods: Sequence[Standing], wanted: int, *, ending: int) -> Turn:
    """What comes next, where all old pods end before new ones start.

    Args:
        ending: how many pods are about to end.
    """
    old = tuple(pod.name for pod in pods if not pod.is_new)
    if old or ending:
        return Turn(0, old)
    return next_turn(pods, wanted, surge=0, unavailable=0)
