"""A Deployment as Kubernetes treats it, in memory: rolled out a step each time that somebody waits, with pods that serve what they can."""

import copy
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import ConflictError, UnreachableError

Manifest = dict[str, Any]


class FakeCluster:
    """One Deployment, `web`, with two pods.

    Args:
        works: whether a pod with this value becomes available.
        crashes: whether one with this value ends again and again.
    """

    def __init__(self, *, works: Callable[[str | None], bool] = lambda _: True, crashes: Callable[[str | None], bool] = lambda _: False) -> None:
        self.clock = ManualClock()
        self.works, self.crashes = works, crashes
        self.refused_patches = self.silent_calls = 0
        self.waits: list[Callable[[], None]] = []
        self.patches: list[Manifest] = []
        container = {"name": "server", "image": "server:1", "env": [{"name": "MODEL", "value": "one"}, {"name": "OTHER", "value": "x"}], "readinessProbe": {}}
        self.deployment: Manifest = {
            "metadata": {"name": "web", "generation": 1, "resourceVersion": "1", "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": [container]}}},
        }
        self.running: list[tuple[str, int]] = []
        self._values: dict[str, str | None] = {}
        self._names = 0
        for _ in range(2):
            self._make_pod(available=1)
        self._write_status()

    # What is asked of a cluster

    def get(self, name: str) -> Manifest:
        if self.silent_calls:
            self.silent_calls -= 1
            raise UnreachableError("cluster-unreachable", "no answer")
        assert name == "web"
        return copy.deepcopy(self.deployment)

    def patch(self, name: str, body: Manifest) -> Manifest:
        assert name == "web"
        if self.refused_patches or body["metadata"]["resourceVersion"] != self.deployment["metadata"]["resourceVersion"]:
            self.refused_patches = max(0, self.refused_patches - 1)
            raise ConflictError("cluster-conflict", "another version")
        self.patches.append(body)
        self._annotate(body["metadata"]["annotations"])
        if "spec" in body:
            for change in body["spec"]["template"]["spec"]["containers"]:
                self._set(change["name"], change["env"])
        self.changed(generation="spec" in body)
        return copy.deepcopy(self.deployment)

    def pods(self, labels: Mapping[str, str]) -> list[Manifest]:
        assert labels == {"app": "web"}
        return [self._pod(name, restarts) for name, restarts in self.running]

    def log(self, pod: str, container: str, *, lines: int, previous: bool) -> str:
        return f"{container} cannot load {self._values[pod]}\n" if not self.works(self._values[pod]) else ""

    # What happens to one

    @property
    def value(self) -> str | None:
        """The variable in the Deployment."""
        entry = self.entry("server")
        return None if entry is None else entry.get("value")

    def entry(self, container: str) -> Manifest | None:
        (found,) = [one for one in self.deployment["spec"]["template"]["spec"]["containers"] if one["name"] == container]
        return next((entry for entry in found["env"] if entry["name"] == "MODEL"), None)

    def changed(self, *, generation: int = 0) -> None:
        metadata = self.deployment["metadata"]
        metadata["generation"] += generation
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    def served(self) -> set[str | None]:
        """What the available pods serve."""
        return {self._values[name] for name, _ in self.running if self._is_available(name)}

    def pause(self, seconds: float) -> None:
        """Time goes by, and the rollout goes on."""
        self.clock.advance(dt.timedelta(seconds=seconds))
        if self.waits:
            self.waits.pop(0)()
        self._roll()
        self._write_status()

    def _roll(self) -> None:
        old = [name for name, _ in self.running if self._values[name] != self.value]
        new = [name for name, _ in self.running if self._values[name] == self.value]
        self.running = [(name, restarts + (1 if self.crashes(self._values[name]) else 0)) for name, restarts in self.running]
        if len(new) < 2 and len(self.running) < 3:
            self._make_pod()
        unavailable = [name for name in old if not self._is_available(name)]
        if unavailable:
            self._remove(unavailable[0])
        elif old and sum(self._is_available(name) for name, _ in self.running) > 2:
            self._remove(old[0])

    def _make_pod(self, *, available: int = 0) -> None:
        self._names += 1
        name = f"web-{self._names}"
        self._values[name] = self.value
        self.running.append((name, 0))

    def _remove(self, gone: str) -> None:
        self.running = [(name, restarts) for name, restarts in self.running if name != gone]

    def _is_available(self, name: str) -> bool:
        return self.works(self._values[name])

    def _write_status(self) -> None:
        new = [name for name, _ in self.running if self._values[name] == self.value]
        available = [name for name, _ in self.running if self._is_available(name)]
        before = self.deployment.get("status", {})
        self.deployment["status"] = {
            "observedGeneration": self.deployment["metadata"]["generation"],
            "replicas": len(self.running),
            "updatedReplicas": len(new),
            "availableReplicas": len(available),
            "conditions": before.get("conditions", []),
        }
        self.changed()

    def _pod(self, name: str, restarts: int) -> Manifest:
        value = self._values[name]
        state: Manifest = {"running": {}}
        last: Manifest = {}
        if restarts:
            state, last = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, {"terminated": {"exitCode": 1, "reason": "Error"}}
        status = {"name": "server", "ready": self._is_available(name) and not restarts, "restartCount": restarts, "state": state, "lastState": last}
        env = [] if value is None else [{"name": "MODEL", "value": value}]
        return {
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "server", "env": env}]},
            "status": {"phase": "Running", "conditions": [], "containerStatuses": [status]},
        }

    def _annotate(self, changes: Mapping[str, str | None]) -> None:
        annotations = self.deployment["metadata"]["annotations"]
        for key, value in changes.items():
            annotations.pop(key, None)
            if value is not None:
                annotations[key] = value

    def _set(self, container: str, entries: list[Manifest]) -> None:
        """A strategic merge of variables, which are known by their names."""
        (found,) = [one for one in self.deployment["spec"]["template"]["spec"]["containers"] if one["name"] == container]
        for change in json.loads(json.dumps(entries)):
            here = next((entry for entry in found["env"] if entry["name"] == change["name"]), None)
            if change.get("$patch") == "delete":
                found["env"] = [entry for entry in found["env"] if entry is not here]
                continue
            merged = {**(here or {}), **change}
            merged = {key: value for key, value in merged.items() if value is not None}
            found["env"] = [*(entry for entry in found["env"] if entry is not here), merged]
