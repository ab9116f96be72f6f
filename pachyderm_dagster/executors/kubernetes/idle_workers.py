"""What is to become of the workers that stay, when nobody drives a job with them: a pure function (docs/design/0026)."""

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.executors.kubernetes.conditions import is_going
from pachyderm_dagster.executors.kubernetes.names import WORKERS_ANNOTATION
from pachyderm_dagster.executors.kubernetes.patches import Manifest


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """The workers that stay for a pipeline, as it is now.

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


def plan_workers(deployments: Sequence[Manifest], pools: Mapping[str, WorkerPool], busy: Collection[str], now: dt.datetime) -> WorkersPlan:
    """The plan.

    Args:
        deployments: all of the home.
        pools: by name of the Deployment.
        busy: of which pipelines and versions a job runs, as in WORKERS_ANNOTATION; it needs its workers, whatever the pipeline has now.
    """
    there = {found["metadata"]["name"]: found for found in deployments}
    idle = [found for found in deployments if not is_going(found) and _whose(found) not in busy]
    scale = []
    for found in idle:
        name = found["metadata"]["name"]
        if name in pools and (wanted := _wanted(pools[name], found, now)) != found["spec"]["replicas"]:
            scale.append(Scale(name, found["metadata"]["resourceVersion"], wanted))
    make = [name for name, one in pools.items() if name not in there and math.isinf(one.cooldown) and not one.is_stopped]
    return WorkersPlan(make, scale, [found for found in idle if found["metadata"]["name"] not in pools])


def _wanted(pool: WorkerPool, found: Manifest, now: dt.datetime) -> int:
    replicas = int(found["spec"]["replicas"])
    if pool.is_stopped:
        return 0
    if math.isinf(pool.cooldown):
        return max(replicas, pool.most)
    made = dt.datetime.fromisoformat(found["metadata"]["creationTimestamp"])
    since = made if pool.idle_since is None else max(made, pool.idle_since)
    return 0 if (now - since).total_seconds() >= pool.cooldown else replicas


def _whose(found: Manifest) -> str:
    return str(found["metadata"].get("annotations", {}).get(WORKERS_ANNOTATION, ""))
