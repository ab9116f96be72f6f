"""What becomes of workers that stay, by a plan that knows the cluster and the record only by what it is given."""

import datetime as dt
import math
from typing import Any

import pytest

from pachyderm_dagster.executors.kubernetes.idle_workers import Scale, WorkerPool, plan_workers

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def found(name: str = "w", replicas: int = 2, *, made: str = "2026-01-01T11:00:00Z", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "resourceVersion": "7", "creationTimestamp": made, "annotations": {"pachyderm-dagster/workers": f"default/{name}@1"}, **more}
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def pool(idle: float | None = None, *, cooldown: float = 300, is_stopped: bool = False) -> WorkerPool:
    return WorkerPool(3, cooldown, is_stopped, None if idle is None else NOW - dt.timedelta(seconds=idle))


@pytest.mark.parametrize(
    ("there", "one", "replicas"),
    [
        (found(), pool(299), None),
        (found(), pool(300), 0),
        (found(replicas=0), pool(300), None),
        # Without a job since it was made, and made after the last one.
        (found(), pool(), 0),
        (found(made="2026-01-01T11:59:00Z"), pool(300), None),
        (found(made="2026-01-01T11:59:00Z"), pool(300, cooldown=60), 0),
        (found(), pool(0, cooldown=0), 0),
        (found(), pool(10_000, cooldown=math.inf), 3),
        (found(replicas=5), pool(10_000, cooldown=math.inf), None),
        (found(), pool(0, is_stopped=True), 0),
        (found(), pool(0, is_stopped=True, cooldown=math.inf), 0),
    ],
)
def test_workers_are_as_many_as_the_time_without_a_job_allows(there: dict[str, Any], one: WorkerPool, replicas: int | None) -> None:
    plan = plan_workers([there], {"w": one}, set(), NOW)
    assert plan.scale == ([] if replicas is None else [Scale("w", "7", replicas)])
    assert (list(plan.make), list(plan.remove)) == ([], [])


@pytest.mark.parametrize("one", [pool(10_000), pool(10_000, is_stopped=True)])
def test_workers_of_a_job_that_runs_are_left_alone(one: WorkerPool) -> None:
    plan = plan_workers([found(), found("old")], {"w": one}, {"default/w@1", "default/old@1"}, NOW)
    assert (list(plan.make), list(plan.scale), list(plan.remove)) == ([], [], [])


def test_workers_that_no_pipeline_has_any_more_go_once() -> None:
    old = found("old")
    plan = plan_workers([found(), old, found("going", deletionTimestamp="2026-01-01T11:59:59Z")], {"w": pool(0)}, set(), NOW)
    assert list(plan.remove) == [old]


def test_only_workers_that_are_never_to_go_are_made_before_a_job() -> None:
    wanted = {"never": pool(cooldown=math.inf), "stopped": pool(cooldown=math.inf, is_stopped=True), "later": pool()}
    assert list(plan_workers([], wanted, set(), NOW).make) == ["never"]
