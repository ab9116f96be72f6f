"""Decides which commit sets of a project become Dagster runs now, and cleans up after runs that died."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.names import job_lease, reactor_lease, set_lease
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.executors.run_job import Executor
from pachyderm_dagster.executors.unrunnable import end_unrunnable_jobs
from pachyderm_dagster.integration.set_runs import Ask, Busy, GiveUp, Later, Progress, SetRun, is_dead, is_worked_on, judge, list_set_run, silent_since
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace

SCHEDULE_OWNER = "schedule"
"""Holds a set whose run a schedule has just asked for. One for all: an evaluation that is repeated has the sets that it asked for before."""
REACTION = dt.timedelta(seconds=10)
"""What reacts at once has taken a set by then, or will not."""


@dataclass(frozen=True, slots=True)
class SetRequest:
    """A run that should be started: these pipelines of one commit set.

    Attributes:
        along: later sets that wait for the same pipelines, or for some of them, oldest first: the run does them too.
    """

    set_id: str
    project: str
    attempt: int
    jobs: tuple[Job, ...]
    along: tuple[str, ...] = ()

    @property
    def run_key(self) -> str:
        """Names the request, so that no daemon starts a second run for it."""
        return self.set_id if self.attempt == 1 else f"{self.set_id}-attempt-{self.attempt}"

    @property
    def last_set(self) -> str:
        """The newest of its sets."""
        return (self.set_id, *self.along)[-1]

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which the run is found again."""
        attempt = {labels.ATTEMPT: str(self.attempt)} if self.attempt > 1 else {}
        progress = {labels.PROGRESS: Progress.of(self.jobs).encode()}
        return {labels.COMMIT_SET: self.set_id, **progress, **attempt, **{f"{labels.WITH_SET}{set_id}": "true" for set_id in self.along}}

    @property
    def pipelines(self) -> list[RepoName]:
        """The pipelines to run."""
        return [job.pipeline for job in self.jobs]


@dataclass(slots=True)
class DueRuns:
    """One look at the due sets.

    Args:
        silent: run ids, and since when nobody seems to work on them: what the next look has to know.
        waiting: for each set that has to wait, why.
        unloaded: pipelines with due jobs that the loaded code location does not know; None when nobody looked.
    """

    requests: list[SetRequest] = field(default_factory=list)
    silent: dict[str, dt.datetime] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    unloaded: tuple[RepoName, ...] | None = None

    def keep(self, room: int | None) -> None:
        """Leaves requests beyond `room` (None: no limit) for a later look."""
        if room is None or len(self.requests) <= room:
            return
        left = len(self.requests) - room
        del self.requests[room:]
        self.waiting.insert(0, f"{left} run{'s' * (left > 1)} wait{'s' * (left == 1)} for others of this project to end, as `active_runs` says")


@dataclass(frozen=True, slots=True)
class DueSets:
    """The due sets of one project, and the Dagster instance that runs them.

    Args:
        keys: the asset of each pipeline that the loaded code location knows.
        take_over: no daemon is up, so nobody else will start a run that waits in its queue.
        leaves_fresh: whether a set that has just become due is left to what reacts at once, if that is up.
        most_sets: how many sets a run may do.
        only_alike: whether these have to want the same pipelines, since the run has a partition for each.
    """

    workspace: Workspace
    instance: dg.DagsterInstance
    executor: Executor
    project: str
    keys: Mapping[RepoName, dg.AssetKey]
    take_over: bool = False
    leaves_fresh: bool = False
    most_sets: int = 1
    only_alike: bool = False

    def look(self, silent: Mapping[str, dt.datetime], *, limit: int) -> DueRuns:
        """What should be started now, at most `limit` runs.

        Sets that share a pipeline go one after the other, oldest first, so that each finds the results of the one before: in one run where they wait for
        nothing else. Jobs of pipelines that are not loaded wait for that, with what reads their outputs; the others of their sets do not.
        """
        with self.workspace.database.read() as txn:
            all_due = jobs.list_due_set(txn, self.project)
            unloaded = {job.pipeline for _, members in all_due for job in members} - self.keys.keys()
            due = jobs.list_due_set(txn, self.project, without=unloaded) if unloaded else all_due
        found = DueRuns(unloaded=tuple(sorted(unloaded)), waiting=_of_unloaded(all_due, unloaded))
        undone = dict(all_due)
        fresh = self._fresh(due) if self.leaves_fresh else set()
        taken: set[RepoName] = set()
        # Pipelines of sets that wait: whatever needs one of them waits behind.
        behind: set[RepoName] = set()
        for set_id, members in due:
            wanted = {job.pipeline for job in members}
            if wanted & taken:
                if not wanted & behind and self._goes_along(set_id, wanted, found):
                    continue
                behind |= wanted
                found.waiting.append(f"{set_id} waits for an earlier commit set of the same pipeline")
            elif set_id in fresh:
                found.waiting.append(f"{set_id} has just become due, and is about to be run")
            elif len(found.requests) < limit:
                self._look_at(set_id, members, undone, silent, found)
            taken |= wanted
        return found

    def _goes_along(self, set_id: str, wanted: Set[RepoName], found: DueRuns) -> bool:
        """Whether a set that nobody has tried joins the request that does its pipelines: then it is in it."""
        place = next((place for place, request in enumerate(found.requests) if self._fits(wanted, set(request.pipelines))), None)
        if place is None or len(found.requests[place].along) + 1 >= self.most_sets or self.workspace.leases.is_held(set_lease(set_id)) or self._runs(set_id):
            return False
        found.requests[place] = dataclasses.replace(found.requests[place], along=(*found.requests[place].along, set_id))
        return True

    def _fits(self, wanted: Set[RepoName], taken: Set[RepoName]) -> bool:
        return wanted == taken if self.only_alike else wanted <= taken

    def _look_at(self, set_id: str, members: Sequence[Job], undone: Mapping[str, Sequence[Job]], silent: Mapping[str, dt.datetime], found: DueRuns) -> None:
        owner = self.workspace.leases.find_owner(set_lease(set_id))
        if owner is not None:
            found.waiting.append(f"{set_id} {self._whose(owner)}")
            return
        now = self.workspace.database.clock.now()
        verdict = judge(members, self._runs(set_id), now)
        if isinstance(verdict, Busy) and self._is_over(verdict.run, undone, silent, found, now):
            verdict = judge(members, self._runs(set_id), now)
        owners = self.workspace.leases.find_owners([job_lease(job.key) for job in members])
        held = [job for job in members if job_lease(job.key) in owners]
        match verdict:
            case Ask() | Later() if held:
                found.waiting.append(f"{set_id}: job {held[0]} is being run by another process")
            case Later(attempt=attempt) if self.take_over:
                # Somebody asks for it again, and looks on.
                found.requests.append(SetRequest(set_id, self.project, attempt, tuple(members)))
            case Ask(attempt):
                found.requests.append(SetRequest(set_id, self.project, attempt, tuple(members)))
            case Busy(run):
                found.waiting.append(f"{set_id} is being run by Dagster run {run.id}")
            case Later(time=time):
                found.waiting.append(f"{set_id} is tried again at {time:%H:%M:%S} UTC, after its run failed")
            case GiveUp(lost, reason):
                self._stop(lost, reason)
                end_unrunnable_jobs(self.workspace, self.executor, set_id, None)
                found.waiting.append(f"{set_id} was stopped: {reason}")

    def _whose(self, owner: str) -> str:
        """What the owner of a set's lease does with it."""
        if owner == SCHEDULE_OWNER:
            return "was asked for by its schedule a moment ago"
        is_reactor = owner == self.workspace.leases.find_owner(reactor_lease(self.project))
        return f"is being run by {'what reacts to commits (`--instant`), without a run of Dagster' if is_reactor else 'a command line'}"

    def _fresh(self, due: Sequence[tuple[str, list[Job]]]) -> set[str]:
        """The sets whose inputs were finished a moment ago, while something reacts to that."""
        if not due or not self.workspace.leases.is_held(reactor_lease(self.project)):
            return set()
        with self.workspace.database.read() as txn:
            return jobs.sets_fed_since(txn, self.workspace.database.clock.now() - REACTION)

    def _runs(self, set_id: str) -> list[SetRun]:
        return list_set_run(self.instance, set_id, {key: name for name, key in self.keys.items()})

    def _is_over(self, run: SetRun, due: Mapping[str, Sequence[Job]], silent: Mapping[str, dt.datetime], found: DueRuns, now: dt.datetime) -> bool:
        """Whether an active run turned out to be none, and was marked so in Dagster."""
        members = [job for set_id in run.sets for job in due.get(set_id, ())]
        record = self.instance.get_run_by_id(run.id)
        if record is None:
            return True
        if run.by_command_line and not is_worked_on(run, members, self.workspace.leases):
            self.instance.report_run_failed(record, "The command line that did this run ended before it; its jobs are run again.")
            return True
        if run.is_forsaken:
            self.instance.report_run_canceled(record, "What reacts to commits ended before it submitted this run; another one is started.")
            return True
        if self.take_over and run.is_queued:
            self.instance.report_run_canceled(record, "Nobody took this run from the queue; the command line does its commit set now.")
            return True
        since = silent_since(run, members, self.workspace.leases, silent, now)
        if not is_dead(run, since, now):
            if since is not None:
                found.silent[run.id] = since
            return False
        message = f"No process has worked on this run since {since:%H:%M:%S} UTC."
        if run.status is dg.DagsterRunStatus.CANCELING:
            self.instance.report_run_canceled(record, message)
        else:
            self.instance.report_run_failed(record, f"{message} Its jobs are run again.")
        return True

    def _stop(self, lost: Sequence[Job], reason: str) -> None:
        def change(txn: Transaction) -> None:
            for job in lost:
                try:
                    jobs.stop(txn, job, reason=f"{reason}; {job.reason}" if job.reason else reason)
                except StateError:
                    # It ended meanwhile, which is just as well.
                    continue

        self.workspace.database.write(change)


def _of_unloaded(due: Sequence[tuple[str, Sequence[Job]]], unloaded: Set[RepoName]) -> list[str]:
    """A line that says which pipelines a code location lacks, and what to do, if it does."""
    if not unloaded:
        return []
    waiting = sum(any(job.pipeline in unloaded for job in members) for _, members in due)
    names = ", ".join(map(str, sorted(unloaded)))
    first = min(unloaded)
    sets = f"{waiting} commit set{'s' * (waiting > 1)} wait{'s' * (waiting == 1)}"
    return [f"{sets} for the code location to load {names}: declare it there, refresh its state, or `pachctl delete pipeline {first}`"]
