"""What is to become of the workers that stay, when nobody drives a job with them: a pure function (docs/design/0026)."""

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.executors.kubernetes.conditions import is_going
from pachyderm_dagster.executors.kubernetes.names import WORKERS_ANNOTATION
from pachyderm_dagster.executors.kubernetes.patches import Manifest


@dataclass(frozen=True, slots=True)
class Kept:
    """Workers that a pipeline has now.

    Attributes:
        most: so many are there at most.
        cooldown: seconds without a job after which there are none; infinite for never.
        is_stopped: whether the pipeline is.
        idle_since: when its last job ended; None without one.
    """

    most: int
    cooldown: float
    is_stopped: bool
    idle_since: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Scale:
    """A Deployment is to have so many pods, if it is as it was seen."""

    name: str
    version: str
    replicas: int


@dataclass(frozen=True, slots=True)
class WorkersPlan:
    """What is to be done, by names of Deployments."""

    make: Sequence[str]
    scale: Sequence[Scale]
    remove: Sequence[Manifest]


def plan_workers(deployments: Sequence[Manifest], kept: Mapping[str, Kept], busy: Collection[str], now: dt.datetime) -> WorkersPlan:
    """The plan.

    Args:
        deployments: all of the home.
        kept: by name of the Deployment.
        busy: of which pipelines and versions a job runs, as in WORKERS_ANNOTATION; it needs its workers, whatever the pipeline has now.
    """
    there = {found["metadata"]["name"]: found for found in deployments}
    idle = [found for found in deployments if not is_going(found) and _whose(found) not in busy]
    scale = []
    for found in idle:
        name = found["metadata"]["name"]
        if name in kept and (wanted := _wanted(kept[name], found, now)) != found["spec"]["replicas"]:
            scale.append(Scale(name, found["metadata"]["resourceVersion"], wanted))
    make = [name for name, one in kept.items() if name not in there and math.isinf(one.cooldown) and not one.is_stopped]
    return WorkersPlan(make, scale, [found for found in idle if found["metadata"]["name"] not in kept])


def _wanted(kept: Kept, found: Manifest, now: dt.datetime) -> int:
    replicas = int(found["spec"]["replicas"])
    if kept.is_stopped:
        return 0
    if math.isinf(kept.cooldown):
        return max(replicas, kept.most)
    made = dt.datetime.fromisoformat(found["metadata"]["creationTimestamp"])
    since = made if kept.idle_since is None else max(made, kept.idle_since)
    return 0 if (now - since).total_seconds() >= kept.cooldown else replicas


def _whose(found: Manifest) -> str:
    return str(found["metadata"].get("annotations", {}).get(WORKERS_ANNOTATION, ""))
