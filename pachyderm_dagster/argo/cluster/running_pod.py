"""One pod of a workflow on a cluster: made, or gone on with where an earlier process left it, followed to its end, and removed."""

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pachyderm_dagster.argo.cluster.area import Answer, PodArea
from pachyderm_dagster.argo.cluster.ends import ends_by, ends_of, is_over, is_ready
from pachyderm_dagster.argo.cluster.manifests import gives, main_names
from pachyderm_dagster.argo.cluster.names import POD_ANNOTATION, RUN_LABEL, TRY_ANNOTATION, RunNames
from pachyderm_dagster.argo.cluster.pod_watch import PodWatch
from pachyderm_dagster.argo.cluster.volumes import copies_of
from pachyderm_dagster.argo.local_pod import PodFolder
from pachyderm_dagster.argo.pods import ContainerEnd, Pod
from pachyderm_dagster.errors import ConflictError, ExecutionError, InvalidError, NotFoundError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import is_going, why_not_starting
from pachyderm_dagster.executors.kubernetes.patches import Manifest

T = TypeVar("T")
LOOK_SECONDS = 5.0
"""After so long without a change it is looked whether a pod is there that was not seen."""
FIRST_PAUSE, LAST_PAUSE = 0.25, 15.0
"""Between two times that is asked again what the API server or the store does not do now."""
REMOVAL_SECONDS = 120
_QUOTA = "exceeded quota"
_DENIED = "cluster-denied"
_log = logging.getLogger(__name__)


class InThread(Protocol):
    """Calls a function in a thread."""

    async def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        """What it returns."""
        ...


@dataclass(frozen=True, slots=True)
class RunPods:
    """Where the pods of a run are, and how they are seen."""

    cluster: Cluster
    watch: PodWatch
    names: RunNames
    call: InThread


class RunningPod:
    """One pod, from the moment at which it is to be there.

    Attributes:
        runs_on: a main container waits for what does not come, though how all of them ended is known.

    Args:
        number: of the try that it is in.
        make: puts into the area what goes into the pod, and gives its manifest; is called in a thread, only where there is neither the pod nor its answer.
    """

    def __init__(self, pod: Pod, number: int, area: PodArea, make: Callable[[], Manifest], run: RunPods) -> None:
        self.pod, self._number, self.area, self._make = pod, number, area, make
        self._cluster, self._call, self._names, self._watch = run.cluster, run.call, run.names, run.watch
        self._name = run.names.pod(pod.name)
        self._uid = ""
        self._answer: Answer | None = None
        self.runs_on = False
        self._given_up = asyncio.Event()
        self._said = ""

    # --- its beginning

    async def begin(self) -> None:
        """Has the pod be there, or its answer."""
        # Nothing runs that cannot be followed.
        while not self._given_up.is_set() and not self._watch.is_listed():
            await self._watch.change(FIRST_PAUSE)
        manifest: Manifest | None = None
        while not self._given_up.is_set() and not await self._is_there():
            manifest = manifest or await self.asked(self._make)
            if manifest is not None:
                await self.asked(functools.partial(self._copy, manifest), creates=True)
                made = await self.asked(functools.partial(self._cluster.create, PODS, manifest), creates=True)
                if made is not None:
                    self._uid = str(made["metadata"]["uid"])
                    self._tell("")
                    return

    async def _is_there(self) -> bool:
        """Whether there is the pod, of this try, or without one its answer. Any other pod of this name is gone then.

        The pod comes first: what it gave is that of its main container, and others of a set may go on.
        """
        there = await self.asked(functools.partial(self._cluster.get, PODS, self._name))
        if there is not None:
            if not self._is_of_node(there):
                problem = f"there is a pod {self._name!r} on the cluster that is not of this node"
                raise ConflictError("cluster-conflict", f"{problem}; look who made it, and remove it")
            if self._is_own(there) and (not is_going(there) or self._ends_in(there) is not None):
                self._uid = str(there["metadata"]["uid"])
                return True
            await self._remove(there["metadata"]["uid"], lambda: not self._given_up.is_set())
        return await self.asked(self.find_answer) is not None

    def _is_of_node(self, there: Manifest) -> bool:
        labels, annotations = (there["metadata"].get(field, {}) for field in ("labels", "annotations"))
        return (labels.get(RUN_LABEL), annotations.get(POD_ANNOTATION)) == (self._names.uid, self.pod.name)

    def _is_own(self, there: Manifest) -> bool:
        return self._is_of_node(there) and there["metadata"]["annotations"].get(TRY_ANNOTATION) == str(self._number)

    def find_answer(self) -> Answer | None:
        """What the pod gave, where it gives anything, once that is there; it never changes."""
        if self._answer is None and gives(self.pod):
            self._answer = self.area.find_answer()
        return self._answer

    def _copy(self, manifest: Manifest) -> None:
        spec = manifest["spec"]
        for kind, copy in copies_of(self.pod, self._names, [*spec.get("volumes", ()), *spec["containers"], *spec.get("initContainers", ())]):
            self._cluster.create(kind, copy)

    async def asked(self, ask: Callable[[], T], *, creates: bool = False) -> T | None:
        """What the API server or the store answers, once it does; None when the pod was given up before.

        A right that this account has lost may come back, and a quota that is used up has room later; but what is not to be made is refused for good.
        """
        pauses = _pauses()
        while not self._given_up.is_set():
            try:
                return await self._call(ask)
            except UnreachableError as error:
                self._tell(error.message)
            except ExecutionError as error:
                if error.code != _DENIED or (creates and _QUOTA not in error.message):
                    raise
                self._tell(error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(pauses)):
                    await self._given_up.wait()
        return None

    # --- its end

    async def ends(self) -> dict[str, ContainerEnd] | None:
        """How its main containers ended; None when somebody deleted it before that."""
        was_seen = is_told = False
        looked = asyncio.get_running_loop().time()
        while self._answer is None:
            found = self._watch.find(self._name, self._uid)
            if found is None and not was_seen and (now := asyncio.get_running_loop().time()) - looked >= LOOK_SECONDS:
                # It may have gone before anybody saw it.
                was_seen, looked = await self._is_gone(), now
            if found is None and was_seen:
                break
            if found is not None:
                was_seen = True
                if (ends := self._ends_in(found)) is not None:
                    self.runs_on = not is_over(self.pod, found)
                    return ends
                if self.pod.template.daemon and not is_told and is_ready(found):
                    is_told = True
                    self.pod.on_ready(found["status"]["podIP"])
                self._tell(why_not_starting(found) or "")
            await self._watch.change(LOOK_SECONDS)
        answer = await self.asked(self.find_answer)
        return None if answer is None else ends_by(answer, self.pod)

    def _ends_in(self, found: Manifest) -> dict[str, ContainerEnd] | None:
        ends = ends_of(self.pod, found)
        # Of one that was told to end it is not known whether its program would have failed.
        if ends is not None and is_going(found) and any(end.phase.is_failure for end in ends.values()):
            return None
        return ends

    async def _is_gone(self) -> bool:
        there = await self.asked(functools.partial(self._cluster.get, PODS, self._name))
        return there is None or there["metadata"]["uid"] != self._uid

    def _tell(self, why: str) -> None:
        if why != self._said:
            self._said = why
            self.pod.on_waiting(why)

    def keep_logs(self, folder: Path) -> None:
        """Keeps what its containers printed."""
        kept = PodFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        main = b"".join(self._log_of(name) for name in main_names(self.pod.template))
        if main or not kept.log.exists():
            kept.log.write_bytes(main)
        for container in (*self.pod.template.init_containers, *self.pod.template.sidecars):
            log = kept.log_beside(container.name)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(self._log_of(container.name))

    def _log_of(self, container: str) -> bytes:
        try:
            return self._cluster.read_log(self._name, container)
        except (NotFoundError, InvalidError):
            # It has not begun, or is gone: how it ended is what counts.
            return b""

    # --- its removal

    def give_up(self) -> None:
        """Has no pod be made any more."""
        self._given_up.set()

    async def removed(self) -> None:
        """Ends the pod, and returns when it is gone. One may be there that no answer told of."""
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                await self._remove(self._uid, lambda: True)
        except TimeoutError:
            _log.warning("the pod %s is not gone %d s after it was told to end; its node, or the API server, may be cut off", self._name, REMOVAL_SECONDS)

    async def _remove(self, uid: str, goes_on: Callable[[], bool]) -> None:
        """Deletes a pod, by its uid or that of this try, until it is gone."""
        pauses, said = _pauses(most=2.0), ""
        while goes_on():
            try:
                there = await asyncio.to_thread(self._cluster.get, PODS, self._name)
                if there is None or not (there["metadata"]["uid"] == uid if uid else self._is_own(there)):
                    return
                if not is_going(there):
                    await asyncio.to_thread(functools.partial(self._cluster.delete, PODS, self._name, uid=there["metadata"]["uid"]))
            except (UnreachableError, ExecutionError) as error:
                if str(error) != said:
                    _log.warning("the pod %s is not removed yet: %s", self._name, error)
                said = str(error)
            await asyncio.sleep(next(pauses))


def _pauses(most: float = LAST_PAUSE) -> Iterator[float]:
    """Longer ones from time to time, and none like that of another."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(2 * pause, most)
