"""Makes the ticks of cron inputs and of triggers when they are due, also those that were missed while nobody was there."""

import datetime as dt
import itertools

from pachyderm_dagster.coordination.leases import hold
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs import commits, references, triggers
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.schedules import ticks
from pachyderm_dagster.workspace import Workspace

MOST_TICKS = 20
"""Of one input at one call: what is left comes with the next."""


def make_due_ticks(workspace: Workspace, project: str) -> list[Commit]:
    """Commits every tick of the project's running pipelines that is due by now, oldest first, each once; branches with a cron trigger move.

    The schedule goes on from the newest tick, or begins at the input's `start` or else the pipeline's creation. Whoever calls at the same time makes no
    tick twice: one of the two does nothing.
    """
    with workspace.database.read() as txn:
        found = [pipeline for pipeline in pipelines.list_pipeline(txn, project=project) if pipeline.state is not PipelineState.PAUSED]
        clocks = [(pipeline, leaf) for pipeline in found for leaf in leaves(pipeline.spec.input) if isinstance(leaf, CronInput)]
        is_triggered = triggers.has_due(txn, project)
    if not clocks and not is_triggered:
        return []
    lease, owner = f"cron/{project}", workspace.database.clock.new_id()
    with hold(workspace.leases, lease, owner) as held:
        if held is None:
            return []
        if is_triggered:
            workspace.database.write(lambda txn: triggers.tick(txn, project=project))
        return [commit for pipeline, clock in clocks for commit in _make_due_ticks(workspace, pipeline, clock)]


def _make_due_ticks(workspace: Workspace, pipeline: Pipeline, clock: CronInput) -> list[Commit]:
    now = workspace.database.clock.now()
    begin = clock.start or pipeline.created
    newest = _newest_tick(workspace, pipeline, clock)
    after = begin if newest is None else max(newest, begin)
    due = itertools.islice(ticks(clock.spec, after, now), MOST_TICKS)
    return [workspace.pps.tick(clock, pipeline.name.project, tick) for tick in due]


def _newest_tick(workspace: Workspace, pipeline: Pipeline, clock: CronInput) -> dt.datetime | None:
    """The time of the newest tick, read from what the last commits of the tick branch added: their trees may hold years of ticks."""
    branch = BranchName(clock.repo_name(pipeline.name.project), clock.branch)
    with workspace.database.read() as txn:
        try:
            head = references.branch_row(txn, branch).head_id
        except NotFoundError:
            return None
        history = commits.list_commit(txn, up_to=head, number=MOST_TICKS) if head is not None else []
    trees = workspace.pfs.trees
    roots = [trees.decode(commit.tree) for commit in history if commit.error is None] + [trees.empty]
    for new, old in itertools.pairwise(roots):
        added = trees.diff(old, new).new_rows.column("key").to_pylist()
        times = [time for time in map(_tick_time, added) if time is not None]
        if times:
            return max(times)
    return None


def _tick_time(key: str) -> dt.datetime | None:
    """The time that a tick's file is named after; None for files that users put there."""
    try:
        time = dt.datetime.fromisoformat(key)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
