"""The objects of one kind that belong to a job, as they are now: listed once, and then watched."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster, Watch, WatchExpired
from pachyderm_dagster.executors.kubernetes.patches import Manifest

RETRY_SECONDS = 2.0
_STATUSES = ("initContainerStatuses", "containerStatuses")
_OF_A_STATUS = ("name", "state", "lastState", "restartCount", "ready")
_log = logging.getLogger(__name__)


class Watched:
    """Follows the objects with some labels in a thread, for the length of a `with` block; of pods in memory is what `shorn` leaves of them.

    An API server that is away for a while is asked again; what happened meanwhile is seen then.

    Args:
        changed: called from the thread after each change.
        asks_again: once they were listed, a server that refuses that later is asked again as well, and what it said is told.
    """

    def __init__(self, cluster: Cluster, kind: str, labels: str, changed: Callable[[], None], *, asks_again: bool = False) -> None:
        self._asks_again = asks_again
        self._cluster, self._kind, self._labels, self._changed = cluster, kind, labels, changed
        self._objects: dict[str, Manifest] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._failure: PachydermError | None = None
        self._is_listed = False
        self._thread = threading.Thread(target=self._follow, name=f"watch-{kind}", daemon=True)

    def objects(self) -> list[Manifest] | None:
        """All of them; None before the first list.

        Raises:
            PachydermError: what keeps them from being followed, and will not pass by itself.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            return list(self._objects.values()) if self._is_listed else None

    def find(self, name: str) -> Manifest | None:
        """One of them. Raises as `objects`."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            return self._objects.get(name)

    def is_listed(self) -> bool:
        """Whether they were listed once. Raises as `objects`."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            return self._is_listed

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended.set()
            watch = self._watch
        if watch is not None:
            watch.interrupt()
        self._thread.join()

    def _follow(self) -> None:
        said = ""
        while not self._ended.is_set():
            try:
                self._follow_from(self._list())
            except (WatchExpired, UnreachableError):
                self._ended.wait(RETRY_SECONDS)
            except PachydermError as error:
                if self._asks_again and self._is_listed and isinstance(error, ExecutionError):
                    if str(error) != said:
                        _log.warning("%s are not followed now: %s", self._kind, error)
                    said = str(error)
                    self._ended.wait(RETRY_SECONDS)
                    continue
                with self._lock:
                    self._failure = error
                self._changed()
                return

    def _list(self) -> str:
        listed: dict[str, Manifest] = {}
        version = ""
        for found in self._cluster.pages(self._kind, self._labels):
            listed |= {item["metadata"]["name"]: self._kept(item) for item in found["items"]}
            version = str(found["metadata"]["resourceVersion"])
        with self._lock:
            self._objects = listed
            self._is_listed = True
        self._changed()
        return version

    def _follow_from(self, version: str) -> None:
        """Follows from a version on, opening the watch again whenever the server ends it."""
        while not self._ended.is_set():
            watch = self._cluster.watch(self._kind, self._labels, version)
            with self._lock:
                self._watch = watch
                if self._ended.is_set():
                    watch.interrupt()
            try:
                for change, item in watch:
                    version = item["metadata"]["resourceVersion"]
                    self._apply(change, item)
            finally:
                watch.close()

    def _apply(self, change: str, item: Manifest) -> None:
        if change == "BOOKMARK":
            return
        with self._lock:
            if change == "DELETED":
                self._objects.pop(item["metadata"]["name"], None)
            else:
                self._objects[item["metadata"]["name"]] = self._kept(item)
        self._changed()

    def _kept(self, item: Manifest) -> Manifest:
        return shorn(item) if self._kind == PODS else item


def shorn(pod: Manifest) -> Manifest:
    """A pod without what nobody asks of one that is followed: most of its spec, and who wrote which field. As objects of Python that is 50 KB a pod."""
    status = dict(pod.get("status", {}))
    for name in _STATUSES:
        if name in status:
            status[name] = [{key: one[key] for key in _OF_A_STATUS if key in one} for one in status[name]]
    containers = [{key: one[key] for key in ("name", "resources") if key in one} for one in pod.get("spec", {}).get("containers", [])]
    metadata = {key: value for key, value in pod["metadata"].items() if key != "managedFields"}
    return {"metadata": metadata, "spec": {"containers": containers}, "status": status}
