"""Makes the ticks of cron inputs and of triggers when they are due, also those that were missed while nobody was there."""

import datetime as dt
import itertools
from collections.abc import Collection

from pachyderm_dagster.coordination.leases import hold, wait_for
from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.pfs import commits, references, triggers
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.schedules import crontab_of, ticks
from pachyderm_dagster.workspace import Workspace

MOST_TICKS = 20
"""Of one input at one call: what is left comes with the next."""
LATE = dt.timedelta(seconds=30)
"""So late a tick is that a schedule should have made."""


def make_due_ticks(workspace: Workspace, project: str, *, scheduled: Collection[RepoName] = (), stopped: Collection[RepoName] = ()) -> list[Commit]:
    """Commits every tick of the project's running pipelines that is due by now, oldest first, each once; branches with a cron trigger move.

    The schedule goes on from the newest tick, or begins at the input's `start` or else the pipeline's creation. Whoever calls at the same time makes no
    tick twice: one of the two does nothing.

    Args:
        scheduled: pipelines that have schedules in Dagster: ticks that cron can say are made here only when these are late with them.
        stopped: those of them whose schedules a user stopped: they get none.
    """
    with workspace.database.read() as txn:
        found = [pipeline for pipeline in pipelines.list_pipeline(txn, project=project) if pipeline.state is not PipelineState.PAUSED]
        clocks = [(pipeline, clock) for pipeline in found for clock in clocks_of(pipeline.spec) if not (pipeline.name in stopped and crontab_of(clock.spec))]
        is_triggered = triggers.has_due(txn, project)
    if not clocks and not is_triggered:
        return []
    with hold(workspace.leases, _lease(project), workspace.database.clock.new_id()) as held:
        if held is None:
            return []
        if is_triggered:
            workspace.database.write(lambda txn: triggers.tick(txn, project=project))
        now = workspace.database.clock.now()
        made = []
        for pipeline, clock in clocks:
            is_left = pipeline.name in scheduled and crontab_of(clock.spec) is not None
            made += _make_ticks(workspace, pipeline, clock, now - LATE if is_left else now)
        return made


def make_scheduled_ticks(workspace: Workspace, name: RepoName, until: dt.datetime) -> list[str]:
    """Commits the ticks of a pipeline's inputs that cron can say, up to a time, those that were missed included. The ids of its newest ticks' sets.

    Raises:
        ConflictError: `requests-busy`, when another process makes ticks for too long.
        NotFoundError: `pipeline-not-found`.
        StateError: `pipeline-stopped`.
    """
    with workspace.database.read() as txn:
        pipeline = pipelines.get_pipeline(txn, name)
    if pipeline.state is PipelineState.PAUSED:
        raise StateError("pipeline-stopped", f"pipeline '{name}' is stopped, and its clocks with it; `pachctl start pipeline {name.name}` runs it")
    clocks = [clock for clock in clocks_of(pipeline.spec) if crontab_of(clock.spec) is not None]
    with wait_for(workspace.leases, _lease(name.project), workspace.database.clock.new_id()):
        for clock in clocks:
            _make_ticks(workspace, pipeline, clock, until)
    return [commit.id for clock in clocks for commit in _history(workspace, pipeline, clock)]


def clocks_of(spec: PipelineSpec) -> list[CronInput]:
    """The cron inputs of a pipeline."""
    return [leaf for leaf in leaves(spec.input) if isinstance(leaf, CronInput)]


def _lease(project: str) -> str:
    return f"cron/{project}"


def _make_ticks(workspace: Workspace, pipeline: Pipeline, clock: CronInput, until: dt.datetime) -> list[Commit]:
    begin = clock.start or pipeline.created
    newest = _newest_tick(workspace, pipeline, clock)
    after = begin if newest is None else max(newest, begin)
    due = itertools.islice(ticks(clock.spec, after, until), MOST_TICKS)
    return [workspace.pps.tick(clock, pipeline.name.project, tick) for tick in due]


def _newest_tick(workspace: Workspace, pipeline: Pipeline, clock: CronInput) -> dt.datetime | None:
    """The time of the newest tick, read from what the last commits of the tick branch added: their trees may hold years of ticks."""
    history = _history(workspace, pipeline, clock)
    trees = workspace.pfs.trees
    roots = [trees.decode(commit.tree) for commit in history if commit.error is None] + [trees.empty]
    for new, old in itertools.pairwise(roots):
        added = trees.diff(old, new).new_rows.column("key").to_pylist()
        times = [time for time in map(_tick_time, added) if time is not None]
        if times:
            return max(times)
    return None


def _history(workspace: Workspace, pipeline: Pipeline, clock: CronInput) -> list[Commit]:
    """The newest commits of a clock's branch, newest first."""
    branch = BranchName(clock.repo_name(pipeline.name.project), clock.branch)
    with workspace.database.read() as txn:
        try:
            head = references.branch_row(txn, branch).head_id
        except NotFoundError:
            return []
        return commits.list_commit(txn, up_to=head, number=MOST_TICKS) if head is not None else []


def _tick_time(key: str) -> dt.datetime | None:
    """The time that a tick's file is named after; None for files that users put there."""
    try:
        time = dt.datetime.fromisoformat(key)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
