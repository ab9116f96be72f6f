"""One pod of a workflow on a cluster: made, or gone on with where an earlier process left it, followed to its end, and removed."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pachyderm_dagster.argo.cluster.area import Answer, Order, PodArea
from pachyderm_dagster.argo.cluster.ends import ends_by, ends_of, is_going, is_ready
from pachyderm_dagster.argo.cluster.manifests import gives, main_names, needs_order
from pachyderm_dagster.argo.cluster.names import RUN_LABEL, TRY_ANNOTATION, RunNames
from pachyderm_dagster.argo.cluster.pod_watch import PodWatch
from pachyderm_dagster.argo.cluster.volumes import copies_of
from pachyderm_dagster.argo.local_pod import PodFolder
from pachyderm_dagster.argo.pods import ContainerEnd, Pod
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import why_not_starting
from pachyderm_dagster.executors.kubernetes.patches import Manifest

T = TypeVar("T")
LOOK_SECONDS = 5.0
"""After so long without a change it is looked whether a pod is there that was not seen."""
ASK_SECONDS = 2.0
"""Between two times that the API server is asked for a pod that it does not make now."""
GONE_SECONDS = 0.25
REMOVAL_SECONDS = 120
_QUOTA = "exceeded quota"
_log = logging.getLogger(__name__)


class Call(Protocol):
    """Calls a function in a thread."""

    async def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        """What it returns."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pods of a run are, and how they are seen."""

    cluster: Cluster
    watch: PodWatch
    names: RunNames
    call: Call


class RunningPod:
    """One pod, from the moment at which it is to be there."""

    def __init__(self, pod: Pod, order: Order, area: PodArea, manifest: Manifest, places: Places) -> None:
        self.pod, self.order, self.area = pod, order, area
        self._manifest, self._watch = manifest, places.watch
        self._cluster, self._call, self._names = places.cluster, places.call, places.names
        self._name = str(manifest["metadata"]["name"])
        self._uid = ""
        self._answer: Answer | None = None
        self._given_up = False
        self._said = ""

    # --- its beginning

    async def begin(self) -> None:
        """Has the pod be there, or its answer."""
        if needs_order(self.pod, self.order):
            await self._call(self.area.write_order, self.order)
        await self._asked(self._copy)
        while not self._given_up:
            if gives(self.order) and (answer := await self._call(self.area.find_answer)) is not None:
                self._answer = answer
                return
            made = await self._asked(functools.partial(self._cluster.create, PODS, self._manifest)) or await self._adopted()
            if made is not None:
                self._uid = str(made["metadata"]["uid"])
                self._tell("")
                return

    async def _adopted(self) -> Manifest | None:
        """The pod that is there under this name, when it is this try's; any other is gone then."""
        there = await self._asked(functools.partial(self._cluster.get, PODS, self._name))
        if there is None:
            return None
        metadata, own = there["metadata"], self._manifest["metadata"]
        is_own = all(metadata.get(field, {}).get(name) == own[field][name] for field, name in (("labels", RUN_LABEL), ("annotations", TRY_ANNOTATION)))
        if is_own and not is_going(there):
            return there
        await self._call(functools.partial(self._cluster.delete, PODS, self._name, uid=metadata["uid"]))
        await self._gone(metadata["uid"])
        return None

    def _copy(self) -> None:
        spec = self._manifest["spec"]
        for kind, copy in copies_of(self.pod, self._names, [*spec.get("volumes", ()), *spec["containers"], *spec.get("initContainers", ())]):
            self._cluster.create(kind, copy)

    async def _asked(self, ask: Callable[[], T]) -> T | None:
        """What the API server answers, once it does; a quota that is used up has room later."""
        while not self._given_up:
            try:
                return await self._call(ask)
            except UnreachableError as error:
                self._tell(error.message)
            except ExecutionError as error:
                if _QUOTA not in error.message:
                    raise
                self._tell(error.message)
            await asyncio.sleep(ASK_SECONDS)
        return None

    # --- its end

    async def ends(self) -> dict[str, ContainerEnd] | None:
        """How its main containers ended; None when somebody deleted it before that."""
        was_seen = is_told = False
        while self._answer is None:
            found = self._watch.find(self._name, self._uid)
            if found is None and (was_seen or await self._is_gone()):
                break
            if found is not None:
                was_seen = True
                if (ends := self._ends_in(found)) is not None:
                    return ends
                if self.pod.template.daemon and not is_told and is_ready(found):
                    is_told = True
                    self.pod.on_ready(found["status"]["podIP"])
                self._tell(why_not_starting(found) or "")
            await self._watch.change(LOOK_SECONDS)
        answer = self._answer or (await self._call(self.area.find_answer) if gives(self.order) else None)
        return None if answer is None else ends_by(answer, self.pod)

    def _ends_in(self, found: Manifest) -> dict[str, ContainerEnd] | None:
        ends = ends_of(self.pod, found)
        # Of one that was told to end it is not known whether its program would have failed.
        if ends is not None and is_going(found) and any(end.phase.is_failure for end in ends.values()):
            return None
        return ends

    async def _is_gone(self) -> bool:
        try:
            there = await self._call(self._cluster.get, PODS, self._name)
        except UnreachableError:
            return False
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
        except (NotFoundError, InvalidError, ExecutionError, UnreachableError):
            # It has not begun, or its node is gone: how it ended is what counts.
            return b""

    # --- its removal

    def give_up(self) -> None:
        """Has no pod be made any more."""
        self._given_up = True

    def delete(self) -> None:
        """Has the pod go; that is not waited for."""
        with contextlib.suppress(PachydermError):
            self._cluster.delete(PODS, self._name, uid=self._uid or None)

    async def removed(self) -> None:
        """Ends the pod, and returns when it is gone."""
        if self._uid:
            await asyncio.to_thread(self.delete)
            try:
                async with asyncio.timeout(REMOVAL_SECONDS):
                    await self._gone(self._uid)
            except TimeoutError:
                _log.warning("the pod %s is not gone %d s after it was told to end; its node may be cut off", self._name, REMOVAL_SECONDS)

    async def _gone(self, uid: str) -> None:
        while True:
            try:
                there = await asyncio.to_thread(self._cluster.get, PODS, self._name)
            except UnreachableError:
                return
            if there is None or there["metadata"]["uid"] != uid:
                return
            await asyncio.sleep(GONE_SECONDS)
