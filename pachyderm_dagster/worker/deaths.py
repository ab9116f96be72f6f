"""The deaths that pods of a job note, each read once: whoever needs them looks again and again, and there may be hundreds."""

from collections.abc import Collection

from pachyderm_dagster.worker.work_area import Death, WorkArea


class Deaths:
    """Those of one work area."""

    def __init__(self, area: WorkArea) -> None:
        self._area = area
        self._known: dict[str, Death] = {}

    def look(self) -> Collection[Death]:
        """All so far; asks the store for their names, and for those that it does not know yet."""
        for name in self._area.death_names():
            if name not in self._known:
                self._known[name] = self._area.read_death(name)
        return self._known.values()
