"""What the status of a workflow's pod says: whether its main containers have ended, how, and what keeps it from starting. Pure functions."""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

from pachyderm_dagster.argo.cluster.area import Answer
from pachyderm_dagster.argo.cluster.manifests import BEGIN, main_names
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.outputs import MAIN, OMITTED, OWN_FAILURE, exit_end
from pachyderm_dagster.argo.pods import ContainerEnd, Pod
from pachyderm_dagster.executors.kubernetes.patches import Manifest

DELETED = "pod deleted"
_NOT_BEGUN = 65
_UNKNOWN = "the pod failed without a word"


def ends_of(pod: Pod, found: Manifest) -> dict[str, ContainerEnd] | None:
    """How the main containers of a pod ended, by name; None as long as one has not."""
    status = found.get("status", {})
    phase = status.get("phase")
    names = main_names(pod.template)
    # Before its message: of a pod that never got so far there is nothing else.
    first = _first_failure(status)
    if phase == "Failed" and first is not None:
        return dict.fromkeys(names, first)
    terminated = {one["name"]: one.get("state", {}).get("terminated") for one in status.get("containerStatuses", [])}
    # Such a container waits for a code that one which was killed did not leave.
    not_to_run = {name for name in _after_failures(pod, terminated) if not terminated.get(name)}
    if phase not in ("Succeeded", "Failed") and not all(terminated.get(name) or name in not_to_run for name in names):
        return None
    # Evicted, out of time, on a node that went: all of the pod failed, with these words.
    whole = ContainerEnd(Phase.FAILED, status["message"]) if phase == "Failed" and status.get("message") else None
    ends = {name: whole or (OMITTED if name in not_to_run else _end(terminated.get(name))) for name in names}
    return _with_omitted(pod, ends)


def _after_failures(pod: Pod, terminated: Mapping[str, Any]) -> set[str]:
    """The containers of a set that are not run, because one that they depend on has failed."""
    found: set[str] = set()
    if pod.template.container_set is not None:
        needs = {container.name: container.dependencies for container in pod.template.container_set.containers}
        for name in TopologicalSorter(needs).static_order():
            if any(needed in found or (terminated.get(needed) or {}).get("exitCode") for needed in needs[name]):
                found.add(name)
    return found


def is_over(pod: Pod, found: Manifest) -> bool:
    """Whether none of the main containers runs any more."""
    running = {one["name"] for one in found.get("status", {}).get("containerStatuses", []) if not one.get("state", {}).get("terminated")}
    return running.isdisjoint(main_names(pod.template))


def _end(terminated: Any) -> ContainerEnd:
    if not terminated:
        return ContainerEnd(Phase.FAILED, _UNKNOWN)
    code = int(terminated["exitCode"])
    said = (terminated.get("message") or "").strip()
    if code == OWN_FAILURE:
        return ContainerEnd(Phase.ERROR, said or f"Error (exit code {code})", str(code))
    if code == 0:
        return exit_end(code)
    return ContainerEnd(Phase.FAILED, f"{terminated.get('reason') or 'Error'} (exit code {code})" + (f": {said}" if said else ""), str(code))


def _first_failure(status: Mapping[str, Any]) -> ContainerEnd | None:
    """The failure of an init container, with which a pod ends before it has begun."""
    for one in status.get("initContainerStatuses", []):
        ended = one.get("state", {}).get("terminated")
        if ended and ended["exitCode"] and not one.get("started"):
            said = (ended.get("message") or "").strip()
            if one["name"] == BEGIN:
                return ContainerEnd(Phase.ERROR, said.removeprefix("error: ") or f"the pod could not be made ready (exit code {ended['exitCode']})")
            end = _end(ended)
            return ContainerEnd(end.phase, f"the init container {one['name']!r}: {end.message}", end.exit_code)
    return None


def _with_omitted(pod: Pod, ends: dict[str, ContainerEnd]) -> dict[str, ContainerEnd]:
    """Containers that were not run, because of one that they depend on. A program may end with their code too, after all of those succeeded."""
    if pod.template.container_set is not None:
        needs = {container.name: container.dependencies for container in pod.template.container_set.containers}
        for name in TopologicalSorter(needs).static_order():
            if ends[name].exit_code == str(_NOT_BEGUN) and any(ends[needed].phase is not Phase.SUCCEEDED for needed in needs[name]):
                ends[name] = OMITTED
    return ends


def is_ready(found: Manifest) -> bool:
    """Whether others may use the pod of a daemon: its main container runs, and its probe said so."""
    one: Any = next((one for one in found.get("status", {}).get("containerStatuses", []) if one["name"] == MAIN), {})
    return bool(one.get("ready")) and bool(found["status"].get("podIP"))


def ends_by(answer: Answer, pod: Pod) -> dict[str, ContainerEnd]:
    """How the containers of a pod ended that is gone: as its answer says, which is that of `main`. How others of a set ended nobody knows any more."""
    end = exit_end(answer.code)
    return {name: end if name == MAIN else ContainerEnd(Phase.ERROR, DELETED) for name in main_names(pod.template)}
