"""Whether the pods of a job start, as it is told in the state of the pipeline and to people."""

import time
from collections.abc import Callable, Sequence

from pachyderm_dagster.executors.kubernetes.cluster import EVENTS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import find_problem, why_no_pods, works
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, Pipeline, PipelineState
from pachyderm_dagster.pps.wanted import set_crashing
from pachyderm_dagster.workspace import Workspace

PATIENCE_SECONDS = 5.0
"""A problem of a moment is none."""
SILENCE_SECONDS = 20.0
"""After so long without a pod that works, nor a word in a status why, the events are asked, and again every so often."""
_WORDS_OF_A_KIND = 2
"""The parts of a problem that say which it is, as in 'container user of pod a: ErrImagePull: ...'; what follows may be other words each time, as a port."""


class Starting:
    """Follows the pods of one job, and has the record say CRASHING while none of them can start, in the words of the cluster.

    Args:
        pipeline: as of the job.
        job: which these pods are for; of one that is over nothing is said any more.
        maker: name of what makes the pods.
        tell: takes a line for people.
    """

    def __init__(self, workspace: Workspace, cluster: Cluster, pipeline: Pipeline, job: Job, maker: str, tell: Callable[[str], None]) -> None:
        self._workspace, self._cluster, self._pipeline, self._job, self._maker, self._tell = workspace, cluster, pipeline, job, maker, tell
        self._told: set[str] = set()
        self._said: str | None = pipeline.reason if pipeline.state is PipelineState.CRASHING else None
        self._since: float | None = None
        self._quiet_since = time.monotonic()
        self._from_events: str | None = None

    def look(self, pods: Sequence[Manifest], makers: Sequence[Manifest]) -> None:
        """Takes the pods, and what makes them, as they are now."""
        now = time.monotonic()
        if any(map(works, pods)):
            self._since, self._from_events, self._quiet_since = None, None, now
            self._report(None)
            return
        problem = find_problem(pods) or next(filter(None, map(why_no_pods, makers)), None) or self._ask_events(pods, now)
        if problem is None:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= PATIENCE_SECONDS:
            self._report(problem)

    def ended_well(self) -> None:
        """The job has its results, however short its pods were seen."""
        self._report(None)

    def _report(self, problem: str | None) -> None:
        if problem == self._said:
            return
        if problem is None:
            self._told.clear()
        elif (kind := ": ".join(problem.split(": ")[:_WORDS_OF_A_KIND])) not in self._told:
            self._told.add(kind)
            self._tell(f"pipeline {self._pipeline.name}: {problem}")
        self._workspace.database.write(lambda txn: self._note(txn, problem))
        self._said = problem

    def _note(self, txn: Transaction, problem: str | None) -> None:
        if problem is None or jobs.list_job(txn, key=self._job.key, unfinished_only=True):
            set_crashing(txn, self._pipeline, problem)

    def _ask_events(self, pods: Sequence[Manifest], now: float) -> str | None:
        """The newest warning about what makes the pods, and about those: of what no status says, as that a quota is used up or a volume is not there."""
        if now - self._quiet_since >= SILENCE_SECONDS:
            self._quiet_since = now
            names = [self._maker, *(pod["metadata"]["name"] for pod in pods[:1])]
            found = [event for name in names for event in self._cluster.list(EVENTS, fields=f"involvedObject.name={name},type=Warning")["items"]]
            newest = max(found, key=_when, default=None)
            self._from_events = None if newest is None else f"{newest['reason']}: {newest['message']}"
        return self._from_events


def _when(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
