"""How many pods of a job work, as it is told in the log of its run: what there is to see of a job while its datums take long."""

from collections.abc import Callable, Sequence

from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.shown_workers import count_workers

CHANGE_SECONDS = 5.0
"""So far apart are lines that say what has changed."""
ALIVE_SECONDS, ALIVE_SHARE = 60.0, 0.1
"""So far apart, and by this share of the time until then, are those that say that nothing has."""


class WorkingPods:
    """Tells how many pods of a job work: at first, when that changes, and ever more rarely as long as it does not.

    Args:
        called: what makes the pods, with its name.
        tell: takes a line.
    """

    def __init__(self, called: str, tell: Callable[[str], None]) -> None:
        self._called, self._tell = called, tell
        self._begun = self._last = 0.0
        self._said = ""

    def look(self, pods: Sequence[Manifest], makers: Sequence[Manifest], now: float) -> None:
        """Takes the pods, and what makes them, as they are now, at so many seconds."""
        # Before thousands of pods are counted.
        if not makers or (self._said and now - self._last < CHANGE_SECONDS):
            return
        if not self._said:
            self._begun = now
        line = self._describe(makers[0], pods)
        if line != self._said or now - self._last >= max(ALIVE_SECONDS, ALIVE_SHARE * (now - self._begun)):
            self._last, self._said = now, line
            self._tell(line)

    def _describe(self, maker: Manifest, pods: Sequence[Manifest]) -> str:
        workers = count_workers(self._called, maker, pods)
        failed = maker.get("status", {}).get("failed", 0)
        return f"{self._called}: {workers.running} of {workers.wanted} pods work" + (f", {failed} failed before" if failed else "")
