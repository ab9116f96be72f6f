"""Frees the datum sets of pods that are gone, which no other pod would have: those of a Deployment have no completion index (docs/design/0026)."""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.kubernetes.conditions import has_ended
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.worker.work_area import WorkArea

LOOK = dt.timedelta(seconds=5)
"""How often it is looked for sets of pods that were never seen, or that took some when the API server knew them no more: their processes may go on."""
MOST_FREED = 6
"""So often the pod of a datum may go before the attempt ends."""

_log = logging.getLogger(__name__)


class GonePods:
    """The pods of one job that may have sets, as its driver sees them."""

    def __init__(self, area: WorkArea, now: Callable[[], dt.datetime]) -> None:
        self._area, self._now = area, now
        self._seen: set[str] = set()
        self._gone: set[str] = set()
        self._missing: set[str] = set()
        self._next_look = now()
        self._are_written = False
        self._freed: Counter[int] = Counter()

    def begin(self) -> None:
        """Asks the area who took sets while an earlier driver was at it; before pods are listed, so that whoever is not among them then is gone."""
        self._seen = self._area.holders()

    def look(self, pods: Sequence[Manifest]) -> None:
        """Takes all pods that there are now.

        Raises:
            ExecutionError: `pods-lost`, when a datum's pod went again and again.
        """
        now = self._now()
        there = {pod["metadata"]["uid"] for pod in pods if not has_ended(pod, now)}
        self._seen |= there
        gone = self._seen - there
        # New sets have numbers behind those that are still being written.
        if (gone <= self._gone and now < self._next_look) or not self._all_written():
            return
        holders = self._area.holders()
        if now >= self._next_look:
            self._next_look = now + LOOK
            # Twice in a row: of a new pod it may be known later that it is there.
            missing = holders - there
            self._seen |= missing & self._missing
            self._missing, gone = missing, self._seen - there
        self._gone = gone
        # Most that ever went hold nothing any more.
        for uid in sorted(self._gone & holders):
            freed = self._area.free(uid)
            self._freed.update(freed)
            if freed:
                _log.warning("a pod of job %s is gone; others do the %s datums that it left", self._area.job, f"{len(freed):,}")
        if max(self._freed.values(), default=0) > MOST_FREED:
            problem = f"the pods that ran a datum of {self._area.job} went {MOST_FREED} times before it had a result"
            raise ExecutionError("pods-lost", f"{problem}; `kubectl get events` may say why; the next try goes on from there")

    def _all_written(self) -> bool:
        self._are_written = self._are_written or self._area.sets_written() is not None
        return self._are_written
