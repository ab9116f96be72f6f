"""What the status of a pod or a Job says: why a pod does not start, and why it ended."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.kubernetes.manifests import STARTER, USER, WORKER
from pachyderm_dagster.executors.kubernetes.patches import Manifest

_CRASHING = "CrashLoopBackOff"
_NOT_STARTING = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "ErrImageNeverPull",
    "InvalidImageName",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    _CRASHING,
}
# Not what the policy of the Job says of its pods, and not its deadline.
_PODS_ENDED = {"FailedIndexes", "MaxFailedIndexesExceeded", "BackoffLimitExceeded"}
_OUT_OF_MEMORY = "OOMKilled"
_GONE_AFTER = dt.timedelta(seconds=5)
_EVICTED = "Evicted"
_SENT_SIGTERM = 143
_STORAGE_WORDS = ("ephemeral", "storage", "emptydir", "disk")


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a Job ended, in words; `may_pass`: its pods ended by what another Job's need not."""

    how: str
    may_pass: bool


DELETED = JobEnd("was deleted", may_pass=False)


def find_problem(pods: Sequence[Manifest]) -> str | None:
    """Why no pod of a job works, in the kubelet's or scheduler's words; None while one does, or nothing is wrong."""
    alive = [pod for pod in pods if not is_over(pod)]
    if any(works(pod) for pod in alive):
        return None
    problem = next((problem for pod in alive if (problem := why_not_starting(pod)) is not None), None)
    return problem or next((problem for pod in pods if (problem := why_not_begun(pod)) is not None), None)


def why_no_pods(maker: Manifest) -> str | None:
    """Why a Deployment makes no pods, as when a quota is used up; None when it does, or is none."""
    failure = condition_of(maker, "ReplicaFailure")
    return None if failure is None else f"{failure.get('reason', 'ReplicaFailure')}: {failure.get('message', '')}"


def why_not_begun(pod: Manifest) -> str | None:
    """What an init container of ours failed of, so that the pod has ended before user code began; None of any other pod."""
    for container in _status(pod).get("initContainerStatuses", []):
        ended = container.get("state", {}).get("terminated") or {}
        if ended.get("exitCode") and container["name"] == STARTER:
            return f"container {STARTER} of pod {_name(pod)} ended with exit code {ended['exitCode']}{f': {said}' if (said := ended.get('message')) else ''}"
    return None


def why_not_starting(pod: Manifest) -> str | None:
    """What keeps a pod from starting; None when nothing does."""
    for condition in _status(pod).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False" and condition.get("reason") == "Unschedulable":
            return f"pod {_name(pod)} finds no node: {condition.get('message', '')}"
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _NOT_STARTING:
            # Of a container that ends again and again the kubelet says only when it starts it.
            said = _last_words(container) or waiting.get("message") or _last_message(container)
            return f"container {container['name']} of pod {_name(pod)}: {waiting['reason']}{f': {said}' if said else ''}"
        ended = container.get("state", {}).get("terminated") or {}
        if container["name"] == WORKER and ended.get("exitCode") and ended.get("message"):
            return f"container {WORKER} of pod {_name(pod)}: {str(ended['message']).strip()}"
    return None


def is_crashing(pod: Manifest) -> bool:
    """Whether the kubelet waits before it starts a container of a pod again, which ended again and again."""
    return any((container.get("state", {}).get("waiting") or {}).get("reason") == _CRASHING for container in _containers(pod))


def works(pod: Manifest) -> bool:
    """Whether the worker and the user's container of a pod run."""
    running = {container["name"] for container in _containers(pod) if "running" in container.get("state", {})}
    return {USER, WORKER} <= running


def is_going(thing: Manifest) -> bool:
    """Whether something was told to end, or is being removed."""
    return "deletionTimestamp" in thing["metadata"]


def is_over(pod: Manifest) -> bool:
    """Whether a pod has ended, or is about to."""
    return _status(pod).get("phase") in ("Succeeded", "Failed") or is_going(pod)


def has_ended(pod: Manifest, now: dt.datetime) -> bool:
    """Whether nothing of a pod runs any more, or nothing should for some seconds: its node may be cut off."""
    until = pod["metadata"].get("deletionTimestamp")
    return _status(pod).get("phase") in ("Succeeded", "Failed") or (until is not None and dt.datetime.fromisoformat(until) + _GONE_AFTER < now)


def find_deadly(pod: Manifest) -> ExecutionError | None:
    """What ended the user's container of a pod: it was out of memory, or the pod out of disk. None for anything else."""
    if is_evicted_for_disk(pod):
        message = _status(pod)["message"]
        return ExecutionError("disk-full", f"twice its pod was evicted while it ran this datum: {message}; give it more disk, or make datums smaller")
    for container in _containers(pod):
        for state in (container.get("state", {}), container.get("lastState", {})):
            if container["name"] == USER and (state.get("terminated") or {}).get("reason") == _OUT_OF_MEMORY:
                limit = _memory_limit(pod)
                words = f"twice the container reached its memory limit{f' of {limit}' if limit else ''} while it ran this datum"
                return ExecutionError("out-of-memory", f"{words}; give it more resource_limits.memory, or make datums smaller")
    return None


def is_evicted_for_disk(pod: Manifest) -> bool:
    """Whether the kubelet ended a pod for what it stored."""
    status = _status(pod)
    return status.get("reason") == _EVICTED and any(word in (status.get("message") or "").lower() for word in _STORAGE_WORDS)


def is_ended_from_within(pod: Manifest) -> bool:
    """Whether the container of user code was sent SIGTERM, while nobody ended its pod: who deletes, evicts or preempts one leaves a mark in it first."""
    if _status(pod).get("phase") != "Failed" or _status(pod).get("reason") or is_going(pod) or condition_of(pod, "DisruptionTarget"):
        return False
    ended = [one.get("state", {}).get("terminated") or {} for one in _containers(pod) if one["name"] == USER]
    return any(one.get("exitCode") == _SENT_SIGTERM for one in ended)


def how_ended(pod: Manifest) -> str:
    """How a pod ended, for people."""
    status = _status(pod)
    if status.get("reason"):
        return f"{status['reason']}: {status.get('message', '')}".rstrip(": ")
    for container in _containers(pod):
        # Why it could not go on, which it could not write into a store that it does not reach. Then it had user code's container end.
        said = (container.get("state", {}).get("terminated") or {}).get("message")
        if container["name"] == WORKER and said:
            return f"its worker could not go on: {said.strip()}"
    for container in _containers(pod):
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return f"container {container['name']} ended with exit code {ended['exitCode']} ({ended.get('reason', '')})"
    return str(status.get("phase", "gone"))


def restarts(pod: Manifest) -> int:
    """How often a container of a pod was started again."""
    return sum(container.get("restartCount", 0) for container in _containers(pod))


def condition_of(thing: Manifest, kind: str) -> Manifest | None:
    """A condition that holds, of a Job: `Complete`, `Failed`; of a Deployment: `ReplicaFailure`; of a pod: `DisruptionTarget`."""
    found: list[Any] = [one for one in _status(thing).get("conditions", []) if one["type"] == kind and one["status"] == "True"]
    return found[0] if found else None


def end_of(job: Manifest) -> JobEnd | None:
    """How a Job ended; None as long as it makes pods."""
    found = next((found for kind in ("Failed", "Complete") if (found := condition_of(job, kind)) is not None), None)
    if found is None:
        return None
    return JobEnd(f"ended: {found.get('message') or found['type']}", may_pass=found["type"] == "Complete" or found.get("reason") in _PODS_ENDED)


def is_finished(job: Manifest) -> bool:
    """Whether the Job controller makes no pods for a Job any more."""
    return any(condition_of(job, kind) is not None for kind in ("Complete", "Failed")) or is_going(job)


def _status(thing: Manifest) -> Any:
    return thing.get("status", {})


def _containers(pod: Manifest) -> Iterator[Any]:
    status = _status(pod)
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])


def _memory_limit(pod: Manifest) -> str:
    """Of the user's container, as Kubernetes writes it; empty without one."""
    containers: list[Any] = [one for one in pod.get("spec", {}).get("containers", []) if one["name"] == USER]
    return str(containers[0].get("resources", {}).get("limits", {}).get("memory", "")) if containers else ""


def _last_words(container: Any) -> str:
    """What a container of ours wrote before it ended the last time; empty when nothing."""
    return str((container.get("lastState", {}).get("terminated") or {}).get("message") or "").strip()


def _last_message(container: Any) -> str:
    ended = container.get("lastState", {}).get("terminated") or {}
    return f"it ended with exit code {ended['exitCode']} ({ended.get('reason', '')})" if "exitCode" in ended else ""


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])
