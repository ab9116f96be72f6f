"""The Dagster runs that a commit set has had, and what to do about the set now."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.coordination.names import job_lease, run_lease
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Job

MAX_ATTEMPTS = 4
RETRY_SECONDS = (10, 40, 160)
"""How long after the end of the first, second, ... run of a set the next one starts."""
SILENCE = dt.timedelta(seconds=30)
"""A run that has begun, on which no process has worked for so long, is dead. The leases by which that is seen outlive their holder by at most 15 s."""
START_SILENCE = dt.timedelta(minutes=3)
"""The same for a run whose process is being started: it has to load the code location first."""
_QUEUED = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED)


@dataclass(frozen=True, slots=True, order=True)
class Progress:
    """How far a set is: the more the greater. `ended` is the number of jobs that are left, below zero."""

    ended: int
    answered: int

    @classmethod
    def of(cls, undone: Sequence[Job]) -> Self:
        """Of a set whose jobs `undone` are left."""
        return cls(-len(undone), sum(job.counters.data_processed + job.counters.data_recovered for job in undone))

    @classmethod
    def decode(cls, text: str) -> Self:
        """As `encode` wrote it."""
        return cls(*map(int, text.split(",")))

    def encode(self) -> str:
        """A short text."""
        return f"{self.ended},{self.answered}"


@dataclass(frozen=True, slots=True)
class SetRun:
    """A run of a commit set as far as decisions need it."""

    id: str
    status: dg.DagsterRunStatus
    pipelines: frozenset[RepoName] | None
    """None: every pipeline of the code location."""
    attempt: int = 1
    ended: dt.datetime | None = None
    cancelled_by_user: bool = False
    interrupted: bool = False
    by_command_line: bool = False
    by_reactor: bool = False
    sets: frozenset[str] = frozenset()
    """The ids of the sets that it does."""
    progress: Progress | None = None
    """How far the set was when it was asked for; None where nobody said."""

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs, as far as Dagster knows."""
        return self.status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

    @property
    def is_queued(self) -> bool:
        """Whether no process has begun it."""
        return self.status in _QUEUED

    @property
    def is_forsaken(self) -> bool:
        """Whether what reacts to commits has made it and not submitted it: looked at by the holder of `requests/<project>`, it died in between."""
        return self.by_reactor and self.status is dg.DagsterRunStatus.NOT_STARTED

    def includes(self, job: Job) -> bool:
        """Whether it was to do this job."""
        return self.pipelines is None or job.pipeline in self.pipelines


@dataclass(frozen=True, slots=True)
class Ask:
    """A run should be started; `attempt` counts from 1."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Busy:
    """A run does the set now."""

    run: SetRun


@dataclass(frozen=True, slots=True)
class Later:
    """The last run ended badly; attempt `attempt` may start at `time`."""

    time: dt.datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These jobs should be stopped."""

    jobs: tuple[Job, ...]
    reason: str


Verdict: TypeAlias = Ask | Busy | Later | GiveUp


def judge(members: Sequence[Job], runs: Sequence[SetRun], now: dt.datetime) -> Verdict:
    """What to do about a due set whose jobs `members` are not finished, given its runs so far.

    A run that ended and left a job undone crashed or could not be launched, was cancelled by a user, or was interrupted from outside: the first is tried again
    a few times, the second was meant, the third does not count. Nor do those since which datums were answered: a long job outlives any number of machines.
    """
    active = [run for run in runs if run.is_active]
    if active:
        return Busy(active[0])
    ended = [run for run in runs if any(run.includes(job) for job in members)]
    cancelled = [run for run in ended if run.cancelled_by_user]
    if cancelled:
        stopped = tuple(job for job in members if any(run.includes(job) for run in cancelled))
        return GiveUp(stopped, f"Dagster run {cancelled[-1].id} was cancelled")
    failed = [run for run in ended if not run.interrupted]
    progress = Progress.of(members)
    vain = [run for run in failed if run.progress is None or run.progress >= progress]
    tries = {job.key: sum(run.includes(job) for run in vain) for job in members}
    lost = tuple(job for job in members if tries[job.key] >= MAX_ATTEMPTS)
    if lost:
        return GiveUp(
            lost,
            f"{MAX_ATTEMPTS} Dagster runs ended without bringing the job further, the last is {failed[-1].id}; see why there, then `pachctl update pipeline`",
        )
    attempt = 1 + max((run.attempt for run in runs), default=0)
    if failed and failed[-1].ended is not None:
        most = max(tries.values())
        time = failed[-1].ended + dt.timedelta(seconds=RETRY_SECONDS[max(most - 1, 0)])
        if now < time:
            return Later(time, attempt)
    return Ask(attempt)


def list_set_run(instance: dg.DagsterInstance, set_id: str, pipelines: Mapping[dg.AssetKey, RepoName]) -> list[SetRun]:
    """The runs of a commit set, oldest first. `pipelines` names the pipeline of each asset."""
    own = instance.get_run_records(dg.RunsFilter(tags={labels.COMMIT_SET: set_id}))
    along = instance.get_run_records(dg.RunsFilter(tags={f"{labels.WITH_SET}{set_id}": "true"}))
    return [_set_run(instance, record, pipelines, set_id) for record in sorted([*own, *along], key=lambda record: record.storage_id)]


def sets_of(tags: Mapping[str, str]) -> frozenset[str]:
    """The ids of the commit sets in the tags of a run."""
    first = [tags[labels.COMMIT_SET]] if labels.COMMIT_SET in tags else []
    return frozenset([*first, *(name.removeprefix(labels.WITH_SET) for name in tags if name.startswith(labels.WITH_SET))])


def _set_run(instance: dg.DagsterInstance, record: dg.RunRecord, pipelines: Mapping[dg.AssetKey, RepoName], set_id: str) -> SetRun:
    run = record.dagster_run
    cancelled = run.status is dg.DagsterRunStatus.CANCELED and bool(
        instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_CANCELING, limit=1).records
    )
    return SetRun(
        id=run.run_id,
        status=run.status,
        sets=sets_of(run.tags),
        # That of its first set: how far others were that it does is not in its tags.
        progress=Progress.decode(run.tags[labels.PROGRESS]) if labels.PROGRESS in run.tags and run.tags.get(labels.COMMIT_SET) == set_id else None,
        pipelines=None if run.asset_selection is None else frozenset(pipelines[key] for key in run.asset_selection if key in pipelines),
        attempt=int(run.tags.get(labels.ATTEMPT, "1")),
        ended=None if record.end_time is None else dt.datetime.fromtimestamp(record.end_time, dt.UTC),
        cancelled_by_user=cancelled,
        interrupted=labels.INTERRUPTED in run.tags or (run.status is dg.DagsterRunStatus.CANCELED and not cancelled),
        by_command_line=run.tags.get(labels.STARTED_BY) == labels.COMMAND_LINE,
        by_reactor=run.tags.get(labels.STARTED_BY) == labels.REACTOR,
    )


def is_worked_on(run: SetRun, undone: Sequence[Job], leases: Leases) -> bool:
    """Whether a process is at a step of the run, or somebody does a job of it.

    Args:
        undone: the unfinished jobs of all the run's sets.
    """
    return bool(leases.find_owners([run_lease(run.id), *(job_lease(job.key) for job in undone)]))


def silent_since(run: SetRun, undone: Sequence[Job], leases: Leases, known: Mapping[str, dt.datetime], now: dt.datetime) -> dt.datetime | None:
    """Since when no process seems to work on an active run; None when one does, or when it is queued. `known`: earlier answers by run id.

    A run between two steps holds no lease for a moment, so only a long silence means anything.

    Args:
        undone: as for `is_worked_on`.
    """
    if run.is_queued or is_worked_on(run, undone, leases):
        return None
    return known.get(run.id, now)


def is_dead(run: SetRun, since: dt.datetime | None, now: dt.datetime) -> bool:
    """Whether a run has been silent for longer than a living one can be."""
    limit = START_SILENCE if run.status is dg.DagsterRunStatus.STARTING else SILENCE
    return since is not None and now - since >= limit
