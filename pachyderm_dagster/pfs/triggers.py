"""Triggers: branches that move to a commit of another branch of their repo once enough has gathered there (docs/design/0005)."""

import datetime as dt
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.ancestry import find_readable, list_ancestor
from pachyderm_dagster.pfs.conditions import Step, check_trigger, fires
from pachyderm_dagster.pfs.model import Origin, Trigger
from pachyderm_dagster.schedules import newest_tick


def set_trigger(txn: Transaction, branch_id: int, source_id: int, trigger: Trigger) -> None:
    """Gives a branch a trigger in place of the one it has.

    Raises:
        InvalidError: `trigger-invalid`, for a condition that cannot be read, or when the branch would wait for itself.
    """
    check_trigger(trigger)
    sources = {row.branch_id: row.source_id for row in txn.all(sa.select(t.branch_trigger.c.branch_id, t.branch_trigger.c.source_id))}
    above: int | None = source_id
    while above is not None:
        if above == branch_id:
            raise InvalidError(
                "trigger-invalid", f"a trigger on '{trigger.branch}' would make the branch wait for itself; name a branch that does not follow it"
            )
        above = sources.get(above)
    remove_trigger(txn, branch_id)
    txn.run(
        sa.insert(t.branch_trigger).values(
            branch_id=branch_id,
            source_id=source_id,
            all_conditions=trigger.all,
            size=trigger.size,
            commits=trigger.commits,
            rate_limit_spec=trigger.rate_limit_spec,
            cron_spec=trigger.cron_spec,
            ticked=txn.clock.now(),
        )
    )


def remove_trigger(txn: Transaction, branch_id: int) -> None:
    """From now on the branch moves only by hand."""
    txn.run(sa.delete(t.branch_trigger).where(t.branch_trigger.c.branch_id == branch_id))


def find_triggers(txn: Transaction, branch_ids: Iterable[int]) -> Mapping[int, Trigger]:
    """The triggers of those of the branches that have one."""
    return {row.branch_id: _trigger(row) for row in txn.all(_rows().where(t.branch_trigger.c.branch_id.in_(list(branch_ids))))}


def evaluate(txn: Transaction, commit_id: int) -> None:
    """Moves every branch whose trigger a commit sets off that has just finished without an error: branches that follow its own, and those that follow them."""
    own = txn.all(_rows_of_commit(), commit_id=commit_id)
    # A commit that a branch was moved away from while it was open is no news of that branch.
    _follow(txn, [row for row in own if _is_ancestor(txn, commit_id, row.source_head)], commit_id)


def has_due(txn: Transaction, project: str) -> bool:
    """Whether `tick` would move something; one that only looks asks this first."""
    return any(newest_tick(row.cron_spec, row.ticked, txn.clock.now()) is not None for row in txn.all(_clocks(project)))


def tick(txn: Transaction, *, project: str) -> list[int]:
    """Moves the branches of a project with a `cron_spec` whose time has come; their rows. However many ticks were missed, a branch moves once."""
    return [int(row.branch_id) for row in txn.all(_clocks(project)) if _tick(txn, row, newest_tick(row.cron_spec, row.ticked, txn.clock.now()))]


def tick_now(txn: Transaction, branch_id: int) -> bool:
    """Moves a branch with a `cron_spec` whether its time has come or not; False when it has none, or nothing to move to."""
    row = txn.first(_rows().where(t.branch_trigger.c.cron_spec != "", t.branch_trigger.c.branch_id == branch_id))
    return row is not None and _tick(txn, row, txn.clock.now())


def _clocks(project: str) -> sa.Select[Any]:
    of_project = _rows().join(t.repo, _source().c.repo_id == t.repo.c.id).join(t.project).where(t.project.c.name == project)
    return of_project.where(t.branch_trigger.c.cron_spec != "").order_by(t.branch_trigger.c.branch_id)


def _tick(txn: Transaction, row: sa.Row[Any], ticked: dt.datetime | None) -> bool:
    """Moves a branch to the newest readable commit of what it follows, changed or not: its downstream runs again."""
    if ticked is None:
        return False
    txn.run(sa.update(t.branch_trigger).where(t.branch_trigger.c.branch_id == row.branch_id).values(ticked=ticked))
    readable = find_readable(txn, row.source_head)
    if readable is None:
        return False
    _move(txn, row.branch_id, readable.id)
    _follow(txn, _followers(txn, row.branch_id), readable.id)
    return True


def _trigger(row: sa.Row[Any]) -> Trigger:
    return Trigger(
        branch=row.source_name,
        all=row.all_conditions,
        size=row.size,
        commits=row.commits,
        rate_limit_spec=row.rate_limit_spec,
        cron_spec=row.cron_spec,
    )


def _follow(txn: Transaction, frontier: list[sa.Row[Any]], commit_id: int) -> None:
    """Moves those of the triggered branches that a commit sets off, and goes on with what follows them."""
    while frontier:
        row = frontier.pop()
        if _step_is_enough(txn, row, commit_id):
            _move(txn, row.branch_id, commit_id)
            frontier += _followers(txn, row.branch_id)


def _followers(txn: Transaction, branch_id: int) -> list[sa.Row[Any]]:
    return list(txn.all(_rows().where(t.branch_trigger.c.source_id == branch_id)))


def _step_is_enough(txn: Transaction, row: sa.Row[Any], commit_id: int) -> bool:
    new = txn.all(sa.select(t.commit.c.size_bytes, t.commit.c.finished).where(t.commit.c.id == commit_id))[0]
    head = txn.first(
        sa.select(t.commit.c.id, t.commit.c.size_bytes, t.commit.c.finished)
        .join_from(t.branch, t.commit, t.branch.c.head_id == t.commit.c.id)
        .where(t.branch.c.id == row.branch_id)
    )
    if head is None:
        return fires(_trigger(row), Step(new.size_bytes, _commits_since(txn, commit_id, None), None, new.finished))
    if _is_ancestor(txn, commit_id, head.id):
        # The branch is there, or further: an older commit that finished late is no news.
        return False
    step = Step(new.size_bytes - head.size_bytes, _commits_since(txn, commit_id, head.id), head.finished, new.finished)
    return fires(_trigger(row), step)


def _commits_since(txn: Transaction, commit_id: int, head_id: int | None) -> int:
    """How many commits there are after the head; the empty root of a branch is none."""
    if head_id is not None:
        chain = list_ancestor(txn, commit_id, down_to=head_id)
        if chain[-1] == head_id:
            return len(chain) - 1
    chain = list_ancestor(txn, commit_id)
    root = txn.first(
        sa.select(t.commit.c.id)
        .outerjoin(t.commit_provenance, t.commit_provenance.c.commit_id == t.commit.c.id)
        .where(t.commit.c.id == chain[-1], t.commit.c.origin == Origin.AUTO, t.commit_provenance.c.commit_id.is_(None))
    )
    return len(chain) - (root is not None)


def _is_ancestor(txn: Transaction, commit_id: int, head_id: int) -> bool:
    """Whether a branch whose head is `head_id` has the commit in its history."""
    return list_ancestor(txn, head_id, down_to=commit_id)[-1] == commit_id


def _move(txn: Transaction, branch_id: int, commit_id: int) -> None:
    txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=commit_id))
    txn.moved_branches.add(branch_id)


@functools.cache
def _source() -> sa.FromClause:
    return t.branch.alias("source")


@functools.cache
def _rows() -> sa.Select[Any]:
    """Triggers with the name and head of what they follow."""
    source = _source()
    return sa.select(t.branch_trigger, source.c.name.label("source_name"), source.c.head_id.label("source_head")).join_from(
        t.branch_trigger, source, t.branch_trigger.c.source_id == source.c.id
    )


@functools.cache
def _rows_of_commit() -> sa.Select[Any]:
    """Those that follow the branch of a commit. Made once, because every commit asks it and making it takes longer than running it."""
    source = _source()
    followed = sa.and_(t.commit.c.repo_id == source.c.repo_id, t.commit.c.branch_name == source.c.name)
    return _rows().join(t.commit, followed).where(t.commit.c.id == sa.bindparam("commit_id"))
