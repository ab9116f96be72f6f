"""What statuses of pods say, as the API gives them."""

from typing import Any

import pytest

from pachyderm_dagster.executors.kubernetes.conditions import find_deadly, find_problem, how_ended, is_ended_from_within, is_finished, restarts
from pachyderm_dagster.executors.kubernetes.watching import shorn

RUNNING = {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "restartCount": 0}


def pod(*, limit: str = "1Gi", **status: Any) -> dict[str, Any]:
    """What is kept of a pod that is followed."""
    containers = [{"name": "user", "image": "busybox", "resources": {"limits": {"memory": limit}}}]
    return shorn({"metadata": {"name": "edges-0-abcde"}, "spec": {"containers": containers}, "status": {"phase": "Pending"} | status})


def waiting(reason: str, message: str | None = None, name: str = "user") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason} | ({} if message is None else {"message": message})}}


WORKS = pod(phase="Running", initContainerStatuses=[{"name": "worker", **RUNNING}], containerStatuses=[{"name": "user", **RUNNING}])
UNSCHEDULABLE = pod(
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]
)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (UNSCHEDULABLE, "pod edges-0-abcde finds no node: 0/1 nodes are available: 1 Insufficient cpu."),
        (
            pod(containerStatuses=[waiting("ErrImagePull", 'failed to pull "nowhere/x"')]),
            'container user of pod edges-0-abcde: ErrImagePull: failed to pull "nowhere/x"',
        ),
        (pod(containerStatuses=[waiting("CreateContainerConfigError", 'secret "db" not found')]), 'secret "db" not found'),
        (pod(initContainerStatuses=[waiting("ErrImageNeverPull", "image is not present", "starter")]), "container starter of pod edges-0-abcde"),
        (
            pod(initContainerStatuses=[waiting("CrashLoopBackOff", None, "worker") | {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
            "CrashLoopBackOff: it ended with exit code 1 (Error)",
        ),
        (
            pod(
                initContainerStatuses=[
                    waiting("CrashLoopBackOff", "back-off 10s", "worker") | {"lastState": {"terminated": {"exitCode": 75, "message": "etcd does not answer\n"}}}
                ]
            ),
            "container worker of pod edges-0-abcde: CrashLoopBackOff: etcd does not answer",
        ),
        (
            pod(initContainerStatuses=[{"name": "worker", "state": {"terminated": {"exitCode": 75, "message": "etcd does not answer\n"}}}]),
            "container worker of pod edges-0-abcde: etcd does not answer",
        ),
        (
            pod(phase="Failed", initContainerStatuses=[{"name": "starter", "state": {"terminated": {"exitCode": 69, "message": "error: no busybox"}}}]),
            "ended with exit code 69: error: no busybox",
        ),
    ],
)
def test_pod_that_cannot_start_says_why(broken: dict[str, Any], said: str) -> None:
    assert said in (find_problem([broken]) or "")
    # What another pod lacks holds up nobody while one works.
    assert find_problem([broken, WORKS]) is None


@pytest.mark.parametrize("fine", [WORKS, pod(), pod(containerStatuses=[waiting("PodInitializing")]), pod(phase="Succeeded")])
def test_pod_that_starts_or_ended_well_is_no_problem(fine: dict[str, Any]) -> None:
    assert find_problem([fine]) is None


def test_problem_of_a_pod_that_is_being_deleted_is_none() -> None:
    gone = {**UNSCHEDULABLE, "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert find_problem([gone]) is None


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (pod(phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]), "out-of-memory"),
        (pod(phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]), None),
        (pod(phase="Failed", initContainerStatuses=[{"name": "worker", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]), None),
        (pod(phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "pach" exceeds the limit "1Gi".'), "disk-full"),
        (pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."), None),
    ],
)
def test_death_is_told_by_what_the_kubelet_says(ended: dict[str, Any], code: str | None) -> None:
    found = find_deadly(ended)
    assert (None if found is None else found.code) == code


def test_memory_limit_that_was_reached_is_named() -> None:
    ended = pod(limit="64Mi", phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}])
    assert str(find_deadly(ended)).startswith("twice the container reached its memory limit of 64Mi while it ran this datum;")


def test_end_is_told_in_a_line() -> None:
    assert how_ended(pod(phase="Failed", reason="Evicted", message="low on memory")) == "Evicted: low on memory"
    assert how_ended(pod(phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}])) == (
        "container user ended with exit code 3 (Error)"
    )


def test_what_a_worker_said_last_is_how_its_pod_ended() -> None:
    user = {"name": "user", "state": {"terminated": {"exitCode": 69, "reason": "Error"}}}
    worker = {"name": "worker", "state": {"terminated": {"exitCode": 0, "message": "the store does not answer\n"}}}
    assert how_ended(pod(phase="Failed", initContainerStatuses=[worker], containerStatuses=[user])) == "its worker could not go on: the store does not answer"


def test_restarts_of_all_containers_count() -> None:
    assert restarts(pod(initContainerStatuses=[{"name": "worker", "restartCount": 2}], containerStatuses=[{"name": "user", "restartCount": 1}])) == 3


@pytest.mark.parametrize(
    ("kind", "holds", "is_over"), [("Complete", "True", True), ("Failed", "True", True), ("Failed", "False", False), ("Suspended", "True", False)]
)
def test_job_is_finished_when_a_condition_says_so(kind: str, holds: str, is_over: bool) -> None:
    assert is_finished({"metadata": {}, "status": {"conditions": [{"type": kind, "status": holds}]}}) == is_over


SENT_SIGTERM = pod(phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 143, "reason": "Error"}}}])


def test_pod_whose_code_sent_sigterm_is_told_from_one_that_somebody_ended() -> None:
    status = SENT_SIGTERM["status"]
    assert is_ended_from_within(SENT_SIGTERM)
    assert not is_ended_from_within(pod(**status | {"phase": "Running"}))
    assert not is_ended_from_within(pod(**status, reason="Preempted"))
    assert not is_ended_from_within(pod(**status, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]))
    assert not is_ended_from_within(SENT_SIGTERM | {"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert not is_ended_from_within(pod(phase="Failed", containerStatuses=[{"name": "user", "state": {"terminated": {"exitCode": 137}}}]))
