"""How far the rollout of a Deployment is, why it does not get on, and what about it lets requests fail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pachyderm_dagster.delivery.variables import Manifest, find_entry, value_of

RESTARTS = 2
"""A container of a new pod that has ended so often, and waits to be started again, is not going to work."""
_HOPELESS = {"CreateContainerConfigError", "CreateContainerError", "InvalidImageName", "ErrImageNeverPull"}
_CRASHING = "CrashLoopBackOff"
_DEADLINE = "ProgressDeadlineExceeded"
REVISION = "deployment.kubernetes.io/revision"
Conditions: TypeAlias = tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is: `done`, or what it waits for."""

    done: bool
    words: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not serve, and the container whose log tells more; `ended` when that of its last end does."""

    words: str
    pod: str
    container: str
    ended: bool


def progress_of(deployment: Manifest) -> Progress:
    """As `kubectl rollout status` tells it."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    updated, ready = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return Progress(False, "the cluster has not seen the change yet")
    if updated < wanted:
        return Progress(False, f"{updated} of {wanted} new pods are made")
    if status.get("replicas", 0) > updated:
        return Progress(False, f"{status['replicas'] - updated} old pods are left")
    if ready < updated:
        return Progress(False, f"{ready} of {updated} new pods are available")
    return Progress(True, f"{updated} pods serve")


def conditions_of(deployment: Manifest) -> Conditions:
    """What the cluster says of a Deployment."""
    return tuple(deployment.get("status", {}).get("conditions", []))


def find_deadline(deployment: Manifest, old: Conditions) -> str | None:
    """The cluster's word that a rollout came to nothing within the Deployment's own `progressDeadlineSeconds`.

    Args:
        old: the conditions before the rollout: until something moves, a Deployment keeps what was said of an earlier one.
    """
    if deployment.get("status", {}).get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return None
    for condition in conditions_of(deployment):
        if condition["type"] == "Progressing" and condition.get("reason") == _DEADLINE and condition not in old:
            return str(condition.get("message") or _DEADLINE)
    return None


def new_pods(pods: Sequence[Manifest], container: str, env: str, value: str | None) -> list[Manifest]:
    """Those with the value in their container; none when the Deployment does not say it itself."""
    if value is None:
        return []
    return [
        pod
        for pod in pods
        if any(one["name"] == container and value_of(find_entry(one, env)) == value for one in pod["spec"]["containers"])
        and "deletionTimestamp" not in pod["metadata"]
    ]


def find_hopeless(pods: Sequence[Manifest]) -> Trouble | None:
    """A pod that will not serve however long one waits."""
    for pod, status in _statuses(pods):
        waiting = status.get("state", {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _HOPELESS:
            return _trouble(pod, status, f"{reason}: {waiting.get('message', '')}", ended=False)
        if reason == _CRASHING and status.get("restartCount", 0) >= RESTARTS:
            return _trouble(pod, status, f"has ended {status['restartCount']} times{_last_end(status)}", ended=True)
    return None


def find_trouble(pods: Sequence[Manifest]) -> Trouble | None:
    """What keeps a pod from serving now, be it for a while."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return Trouble(f"pod {_name(pod)} finds no node: {condition.get('message', '')}", _name(pod), "", ended=False)
    for pod, status in _statuses(pods):
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return _trouble(pod, status, f"{waiting['reason']}: {waiting.get('message', '')}", ended=bool(status.get("restartCount")))
        if status.get("state", {}).get("terminated", {}).get("exitCode"):
            return _trouble(pod, status, f"ended with exit code {status['state']['terminated']['exitCode']}", ended=False)
    for pod, status in _statuses(pods):
        if not status.get("ready") and "running" in status.get("state", {}):
            again = f", and has ended {status['restartCount']} times{_last_end(status)}" if status.get("restartCount") else ""
            return _trouble(pod, status, f"runs, but is not ready{again}", ended=False)
    return None


def weak_points(deployment: Manifest, container: Manifest) -> list[str]:
    """What lets requests fail while pods are replaced."""
    found = []
    strategy = deployment["spec"].get("strategy", {})
    if strategy.get("type") == "Recreate":
        found.append("its strategy is Recreate, so that nothing serves between the old pods and the new ones; RollingUpdate keeps some")
    elif strategy.get("rollingUpdate", {}).get("maxUnavailable") not in (0, "0", "0%", "25%", None):
        found.append(f"its maxUnavailable is {strategy['rollingUpdate']['maxUnavailable']}: pods go before others have taken their place; 0 prevents it")
    if "readinessProbe" not in container:
        found.append(f"container '{container['name']}' has no readinessProbe, so that requests come before the model is loaded, and no bad model is noticed")
    return found


def revision_of(deployment: Manifest) -> str:
    """The number of the Deployment's revision, as `kubectl rollout history` shows it."""
    return str(deployment["metadata"].get("annotations", {}).get(REVISION, ""))


def _statuses(pods: Sequence[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    for pod in pods:
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            yield pod, container


def _trouble(pod: Manifest, status: Manifest, words: str, *, ended: bool) -> Trouble:
    return Trouble(f"container {status['name']} of pod {_name(pod)} {words}".rstrip(": "), _name(pod), status["name"], ended)


def _last_end(status: Manifest) -> str:
    ended = status.get("lastState", {}).get("terminated") or {}
    return f", last with exit code {ended['exitCode']} ({ended.get('reason', 'Error')})" if "exitCode" in ended else ""


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])
