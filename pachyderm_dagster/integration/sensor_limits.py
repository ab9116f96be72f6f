"""How much the commit sensor of a project takes at once, as users may say it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import dagster as dg

from pachyderm_dagster.errors import InvalidError

TAG = "pachyderm/"
"""Begins the tags of a sensor that tell its limits to others, and to whoever looks at its page."""


@dataclass(frozen=True)
class SensorLimits(dg.Resolvable):
    """How much the commit sensor of a project takes at once; what is beyond waits in the workspace, and nothing is lost.

    ```python
    defs = pachyderm_assets("pipelines", limits=SensorLimits(runs_per_tick=5, active_runs=10))
    ```

    Args:
        commits_per_tick: finished commits that a tick tells Dagster of, before it asks for runs: each costs 10 to 70 ms.
        runs_per_tick: runs that a tick asks for: starting one takes the daemon about a second.
        sets_per_run: commit sets that share a run when they wait for the same pipelines. What a run left undone is tried again in another one.
        active_runs: no run is asked for while so many of the job `pipelines_<project>` wait or run; None for as many as there are independent pipelines.

    Raises:
        InvalidError: `limits-invalid`.
    """

    commits_per_tick: int = 300
    runs_per_tick: int = 20
    sets_per_run: int = 200
    active_runs: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "active_runs":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidError("limits-invalid", f"{field.name} of the commit sensor's limits is {value!r}; give a whole number from 1 on")

    @property
    def tags(self) -> dict[str, str]:
        """Those that are otherwise than usual, as tags of the sensor."""
        usual = asdict(SensorLimits())
        return {f"{TAG}{name}": str(value) for name, value in asdict(self).items() if value != usual[name]}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> "SensorLimits":
        """The limits of a sensor that has these tags."""
        found = {field.name: tags[f"{TAG}{field.name}"] for field in fields(cls) if f"{TAG}{field.name}" in tags}
        return cls(**{name: int(value) for name, value in found.items()})


USUAL = SensorLimits()
_ACTIVE = (
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED),
    *(dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)


def room_for_runs(instance: dg.DagsterInstance, job: str, limits: SensorLimits) -> int | None:
    """How many more runs of a project's job there may be; None when nothing limits them."""
    if limits.active_runs is None:
        return None
    return max(0, limits.active_runs - instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=list(_ACTIVE))))
