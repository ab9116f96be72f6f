"""Gives the pods of a Deployment a new value of a variable, without a moment in which none serves, and the old value back when the new one does not work.

Whoever delivers may be killed at any time: the Deployment itself keeps what was there before, and who delivers the same value again goes on from there.
"""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.delivery.rollout import (
    Conditions,
    Progress,
    Trouble,
    conditions_of,
    find_deadline,
    find_hopeless,
    find_trouble,
    new_pods,
    progress_of,
    revision_of,
    weak_points,
)
from pachyderm_dagster.delivery.variables import (
    Entry,
    Manifest,
    delivery_patch,
    find_container,
    find_entry,
    find_replaced,
    restoring_patch,
    served_patch,
    value_of,
)
from pachyderm_dagster.durations import format_duration
from pachyderm_dagster.errors import ConflictError, ExecutionError, StateError, UnreachableError

LOOK_SECONDS = 1.0
"""So often a rollout is looked at."""
LOG_LINES = 10


class DeploymentsApi(Protocol):
    """What is read and changed of a cluster: `delivery.deployments.Deployments`, or a model of it."""

    def get(self, name: str) -> Manifest:
        """The Deployment."""
        ...

    def patch(self, name: str, body: Manifest) -> Manifest:
        """Changes it by a strategic merge patch."""
        ...

    def pods(self, labels: Mapping[str, str]) -> list[Manifest]:
        """The pods with these labels."""
        ...

    def log(self, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """What a container wrote last."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be served.

    Args:
        container: None for the only one, or the only one that has the variable.
        seconds: that the rollout may take, and the way back as well.
    """

    deployment: str
    env: str
    value: str
    container: str | None = None
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What serves now.

    Args:
        before: the value that it replaced; None when there was none, or it came from elsewhere.
        changed: False when it was served already.
    """

    value: str
    before: str | None
    image: str
    revision: str
    pods: int
    seconds: float
    changed: bool


@dataclass(frozen=True, slots=True)
class _Rollout:
    """What is waited for.

    Args:
        value: that all pods are to have; None for one that the Deployment itself does not say.
        old: the conditions before the change: what they say is of an earlier rollout.
    """

    delivery: Delivery
    container: str
    value: str | None
    old: Conditions = ()


@dataclass(slots=True)
class Courier:
    """Delivers values to the Deployments of a cluster.

    Args:
        say: takes lines for people.
    """

    cluster: DeploymentsApi
    clock: Clock
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    _said: str = field(default="", init=False)

    def deliver(self, delivery: Delivery) -> Delivered:
        """Sets the variable and waits until all pods have it.

        Raises:
            ExecutionError: `rollout-failed`: the new pods do not serve; the old value is back, unless it says otherwise.
            StateError: `deployment-paused`; `delivery-overtaken`, when somebody else sets another value meanwhile, which stays.
            UnreachableError: `cluster-unreachable`, for as long as the rollout may take.
        """
        begun = self.clock.now()
        rollout, before, changed = self._begin(delivery)
        reason = self._follow(rollout)
        if reason is not None:
            raise self._failed(rollout, reason)
        deployment = self._settled(rollout)
        seconds = (self.clock.now() - begun).total_seconds()
        image = find_container(deployment, delivery.env, rollout.container)["image"]
        pods = deployment.get("status", {}).get("updatedReplicas", 0)
        return Delivered(delivery.value, value_of(before), image, revision_of(deployment), pods, seconds, changed)

    def _begin(self, delivery: Delivery) -> tuple[_Rollout, Entry | None, bool]:
        """What to wait for, what was there before, and whether this call changed it."""
        while True:
            deployment = self.cluster.get(delivery.deployment)
            _refuse_paused(deployment)
            container = find_container(deployment, delivery.env, delivery.container)
            name, entry = container["name"], find_entry(container, delivery.env)
            if value_of(entry) == delivery.value:
                replaced = find_replaced(deployment, name, delivery.env, delivery.value)
                return _Rollout(delivery, name, delivery.value), None if replaced is None else replaced.entry, False
            for weakness in weak_points(deployment, container):
                self.say(f"requests may fail while '{delivery.deployment}' is updated: {weakness}")
            try:
                self.cluster.patch(delivery.deployment, delivery_patch(deployment, name, delivery.env, delivery.value, entry))
            except ConflictError:
                # Its status changed between the two calls, or somebody changed it.
                continue
            self.say(f"{delivery.env} of '{delivery.deployment}' is {delivery.value} from now on; it was {_shown(entry)}")
            return _Rollout(delivery, name, delivery.value, conditions_of(deployment)), entry, True

    def _settled(self, rollout: _Rollout) -> Manifest:
        """The Deployment, which keeps that its pods have the value: what goes wrong with them later is no fault of the value, and no reason to go back."""
        delivery = rollout.delivery
        while True:
            deployment = self.cluster.get(delivery.deployment)
            replaced = find_replaced(deployment, rollout.container, delivery.env, delivery.value)
            if replaced is None or replaced.is_served:
                return deployment
            try:
                return self.cluster.patch(delivery.deployment, served_patch(deployment))
            except ConflictError:
                continue

    def _follow(self, rollout: _Rollout) -> str | None:
        """Waits for a rollout; why it failed, or None when it is done."""
        end = self.clock.now() + dt.timedelta(seconds=rollout.delivery.seconds)
        while True:
            is_late = self.clock.now() >= end
            try:
                progress, pods, reason = self._look(rollout)
            except UnreachableError:
                if is_late:
                    raise
            else:
                if progress.done or reason is not None:
                    return reason
                if is_late:
                    trouble = find_trouble(pods)
                    return f"after {format_duration(rollout.delivery.seconds)} {progress.words if trouble is None else self._words_of(trouble)}"
            self.pause(LOOK_SECONDS)

    def _look(self, rollout: _Rollout) -> tuple[Progress, list[Manifest], str | None]:
        """How far a rollout is, its new pods, and why it will not get any further."""
        deployment = self.cluster.get(rollout.delivery.deployment)
        _refuse_overtaken(rollout, deployment)
        progress = progress_of(deployment)
        self._tell(rollout.delivery, progress)
        if progress.done:
            return progress, [], None
        labels = deployment["spec"]["selector"].get("matchLabels", {})
        pods = new_pods(self.cluster.pods(labels), rollout.container, rollout.delivery.env, rollout.value)
        hopeless = find_hopeless(pods)
        if hopeless is not None:
            return progress, pods, self._words_of(hopeless)
        deadline = find_deadline(deployment, rollout.old)
        if deadline is None:
            return progress, pods, None
        trouble = find_trouble(pods)
        return progress, pods, deadline if trouble is None else f"{deadline} {self._words_of(trouble)}"

    def _failed(self, rollout: _Rollout, reason: str) -> ExecutionError:
        """The error of a rollout that failed, with how the way back went."""
        delivery = rollout.delivery
        self.say(f"'{delivery.deployment}' does not work with {delivery.value}: {reason}")
        problem = f"Deployment '{delivery.deployment}' does not work with {delivery.env}={delivery.value}: {reason}"
        return ExecutionError("rollout-failed", f"{problem}\n{self._go_back(rollout)}")

    def _go_back(self, rollout: _Rollout) -> str:
        """Gives the old value back, and tells how that went."""
        delivery, container = rollout.delivery, rollout.container
        while True:
            deployment = self.cluster.get(delivery.deployment)
            entry = find_entry(find_container(deployment, delivery.env, container), delivery.env)
            replaced = find_replaced(deployment, container, delivery.env, delivery.value)
            if value_of(entry) != delivery.value:
                return f"somebody has made it {_shown(entry)} meanwhile, which stays"
            if replaced is None:
                return "what was there before is not known, so that nothing was set back: set it by hand"
            if replaced.is_served:
                return "all pods have had it before, so that nothing was set back: look at what has changed since, or deliver another value"
            before = replaced.entry
            try:
                self.cluster.patch(delivery.deployment, restoring_patch(deployment, container, delivery.env, before))
            except ConflictError:
                continue
            reason = self._follow(_Rollout(delivery, container, value_of(before), conditions_of(deployment)))
            back = f"{delivery.env} is {_shown(before)} again"
            return f"rolled back: {back}" if reason is None else f"{back}, which does not work either: {reason}"

    def _words_of(self, trouble: Trouble) -> str:
        """With what its code said."""
        log = self.cluster.log(trouble.pod, trouble.container, lines=LOG_LINES, previous=trouble.ended) if trouble.container else ""
        return f"{trouble.words}; it said:\n{log.rstrip()}" if log.strip() else trouble.words

    def _tell(self, delivery: Delivery, progress: Progress) -> None:
        if progress.words != self._said:
            self._said = progress.words
            self.say(f"'{delivery.deployment}': {progress.words}")


def _refuse_paused(deployment: Manifest) -> None:
    if deployment["spec"].get("paused"):
        name = deployment["metadata"]["name"]
        step = f"`kubectl rollout resume deployment/{name}`, and try again"
        raise StateError("deployment-paused", f"Deployment '{name}' is paused, and starts no new pods; {step}")


def _refuse_overtaken(rollout: _Rollout, deployment: Manifest) -> None:
    env = rollout.delivery.env
    now = find_entry(find_container(deployment, env, rollout.container), env)
    if value_of(now) != rollout.value:
        found = f"{env} of Deployment '{rollout.delivery.deployment}' was to be {rollout.value}, and somebody has made it {_shown(now)} meanwhile"
        raise StateError("delivery-overtaken", f"{found}; that stays: deliver again if it should not")


def _shown(entry: Entry | None) -> str:
    if entry is None:
        return "not set"
    return "taken from elsewhere" if "valueFrom" in entry else str(value_of(entry))
