"""Waits for commits: watches a daemon's work, or runs due jobs in this process; says what it waits for."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import click

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.names import DEV_LEASE
from pachyderm_dagster.cli.progress import Progress, show_count
from pachyderm_dagster.coordination.drivers import find_other_executors
from pachyderm_dagster.coordination.names import sensor_lease, unloaded_lease
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit, Origin
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.record import Record

POLL_SECONDS = 0.2
IDLE_SECONDS = 1.0
"""Between two attempts to run what is due in this process, when the first found nothing to do: somebody else does it."""

Pending: TypeAlias = Callable[[Transaction], Sequence[Commit]]


@dataclass(frozen=True, slots=True)
class Blockers:
    """Why open commits are open."""

    open_inputs: tuple[Commit, ...] = ()
    """Commits that a user has to finish."""
    jobs: tuple[Job, ...] = ()
    """Unfinished jobs that nothing keeps from running to their end."""
    services: tuple[Job, ...] = ()
    """Unfinished jobs of services, which end when the next commit comes."""
    orphans: tuple[Commit, ...] = ()
    """Open commits that propagation made and no pipeline writes."""


def find_blockers(txn: Transaction, pending: Sequence[Commit]) -> Blockers:
    """What has to end first so that the `pending` commits can be finished."""
    inputs, ready, orphans = [], [], []
    seen: set[int] = set()
    frontier = list(pending)
    while frontier:
        commit = frontier.pop()
        if commit.key in seen or commit.finished is not None:
            continue
        seen.add(commit.key)
        above = [found for found in commits.upstream_commits(txn, commit.key) if found.finished is None]
        frontier += above
        if commit.origin is Origin.USER:
            inputs.append(commit)
        elif not above:
            found = [job for job in jobs.list_job(txn, set_id=commit.id) if commit.key in (job.output_commit, job.meta_commit)]
            ready += found
            orphans += [] if found else [commit]
    services = jobs.find_services(txn, {job.pipeline for job in ready})
    kinds = [[job for job in ready if (job.pipeline in services) is of_service] for of_service in (False, True)]
    return Blockers(tuple(inputs), tuple(kinds[0]), tuple(kinds[1]), tuple(orphans))


def show_datums(kinds: Mapping[str, int], total: int) -> str:
    """How many datums of each kind a job that ended had; of one that ended before them all, out of how many."""
    told = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number)
    if sum(kinds.values()) >= total:
        return told or "no datums"
    return f"{told or 'none'} of {total:,} datum{'s' * (total > 1)}"


class WaitReport:
    """Tells on standard error what is waited for and how far jobs are. A context manager."""

    def __init__(self) -> None:
        self._said = ""
        self._warned: set[str] = set()
        self._ended = ""
        self._bar: Progress | None = None
        self._drawn: int | None = None
        self._open = contextlib.ExitStack()
        self.begun: set[int] = set()
        """Rows of the jobs that were told of and whose end was not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def say(self, text: str) -> None:
        """A line, unless it is the one that was said last."""
        if text != self._said:
            self._said = text
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """A line about what keeps a job from going on, once; a bar begins anew behind it."""
        if text not in self._warned:
            self._warned.add(text)
            self._open.close()
            self._drawn = None
            click.echo(f"note: {text}", err=True)

    def blocked(self, blockers: Blockers, *, daemon: bool, unloaded: Sequence[Job] = (), away: str = "") -> None:
        """What is waited for.

        Args:
            daemon: whether jobs are a daemon's.
            unloaded: jobs of pipelines that the daemon's code location does not know.
            away: what the daemon's executor is, where it is not up and nobody else may run its jobs.
        """
        if blockers.open_inputs:
            names = ", ".join(map(str, blockers.open_inputs))
            self.say(f"waiting for {names} to be finished: `pachctl finish commit {blockers.open_inputs[0]}`")
        elif blockers.orphans:
            names = ", ".join(map(str, blockers.orphans))
            self.say(f"waiting for {names}, which no pipeline writes: `pachctl finish commit {blockers.orphans[0]}`")
        elif blockers.services and not blockers.jobs:
            job = blockers.services[0]
            self.say(f"waiting for service job {job}, which ends when its pipeline's next commit comes: `pachctl stop job {job}` ends it now")
        elif unloaded:
            job, step = unloaded[0], f"load it there, or `pachctl delete pipeline {unloaded[0].pipeline}`"
            self.say(f"waiting for job {job}, whose pipeline the code location of the daemon does not load: {step}")
        elif away:
            step = "start it, or have `pachyderm-dagster dev` run them here by the executor that `pachctl config` shows"
            self.say(f"waiting for the daemon, which is not up and runs jobs by {away}; {step}")
        elif daemon:
            self.say("waiting for the daemon to finish what is due")
        if daemon:
            self.begun.update(job.key for job in blockers.jobs)
            for job in blockers.jobs[:1]:
                self.job(job, job.state, job.counters)

    def job(self, job: Job, state: JobState, counters: Counters) -> None:
        """How far a job is: a bar when it takes long, a line when it has ended."""
        kinds = {"processed": counters.data_processed, "skipped": counters.data_skipped, "failed": counters.data_failed, "recovered": counters.data_recovered}
        if state.is_terminal:
            self._open.close()
            self._drawn = None
            self.begun.discard(job.key)
            line = f"job {job}: {state}, {show_datums(kinds, counters.data_total)}"
            if line != self._ended:
                self._ended = line
                click.echo(line, err=True)
            return
        if self._drawn != job.key or self._bar is None:
            self._open.close()
            self._bar = self._open.enter_context(Progress(f"job {job}", show=show_count))
            self._drawn = job.key
            self.begun.add(job.key)
        self._bar.reach(sum(kinds.values()), counters.data_total)


def wait_for(record: Record, environ: Mapping[str, str], pending: Pending, *, timeout: float | None) -> bool:
    """Returns when `pending` finds no open commit any more, and whether it found one before.

    With no daemon up, due jobs run in this process, but for projects whose daemon ran them elsewhere; a time limit does not interrupt one of them.

    Raises:
        StateError: `wait-timeout`.
        ExecutionError: `run-failed`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout

    def is_over() -> bool:
        with record.database.read() as txn:
            return not pending(txn) or _is_past(deadline)

    with record.changes.watch() as watcher, WaitReport() as report:
        has_waited = False
        while True:
            with record.database.read() as txn:
                found = pending(txn)
                blockers = find_blockers(txn, found)
                ended = [job for key in sorted(report.begun) for job in jobs.list_job(txn, key=key) if job.state.is_terminal]
            for job in ended:
                report.job(job, job.state, job.counters)
            if not found:
                return has_waited
            has_waited = True
            # The sensors of a daemon that has just started have not looked yet.
            projects = {job.pipeline.project for job in blockers.jobs}
            daemon = bool(record.leases.find_owners([DEV_LEASE, *map(sensor_lease, projects)]))
            others = {} if daemon else find_other_executors(record.leases, projects, record.settings.executor)
            is_left = daemon or (bool(projects) and projects <= others.keys())
            away = ", ".join(sorted(set(others.values()))) if is_left else ""
            report.blocked(blockers, daemon=is_left, unloaded=_unloaded(record, blockers.jobs) if daemon else (), away=away)
            if _is_past(deadline):
                raise StateError("wait-timeout", f"{', '.join(str(commit) for commit in found)} did not finish in {timeout:g} s")
            if blockers.jobs and not is_left:
                _run_due(environ, is_over, report)
                time.sleep(0 if is_over() else IDLE_SECONDS)
            else:
                watcher.wait(POLL_SECONDS, POLL_SECONDS)


def _run_due(environ: Mapping[str, str], is_over: Callable[[], bool], report: WaitReport) -> None:
    report.say("no daemon is up: running due jobs in this process")
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        # What this machine cannot do for a pipeline was told when that was made.
        on_warning = None if workspace.settings.kubernetes is None else report.warn
        run_due = load("pachyderm_dagster.integration.run_due:run_due")
        run_due(workspace, environ, until=is_over, on_job=report.job, on_wait=report.say, on_warning=on_warning)


def _unloaded(record: Record, ready: Sequence[Job]) -> list[Job]:
    """Those of the jobs whose pipelines nobody runs, as the commit sensor says."""
    names = {job.key: unloaded_lease(job.pipeline.project, job.pipeline.name) for job in ready}
    held = record.leases.find_owners(set(names.values()))
    return [job for job in ready if names[job.key] in held]


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
