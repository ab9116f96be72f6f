"""Which pipelines have worked for longer than they are expected to."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import UNFINISHED


@dataclass(frozen=True, slots=True)
class Alert:
    """A job that has workers for longer than its pipeline's `maximum_expected_uptime`."""

    pipeline: RepoName
    job: str
    up: dt.timedelta
    expected: dt.timedelta


def list_alert(txn: Transaction, *, project: str | None = None) -> list[Alert]:
    """The alerts of now, by pipeline and then the oldest job first, of every project unless one is named.

    Workers are up while a job is, so it is the time since that was started.
    """
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.pipeline.c.name, t.job.c.set_id, t.job.c.started)
        .join_from(t.job, t.pipeline, t.job.c.pipeline_id == t.pipeline.c.id)
        .join(t.project)
        .where(t.job.c.state.in_(UNFINISHED), t.job.c.started.is_not(None), sa.true() if project is None else t.project.c.name == project)
        .order_by(t.project.c.name, t.pipeline.c.name, t.job.c.id)
    )
    found, now = [], txn.clock.now()
    uptimes = {name: pipelines.get_pipeline(txn, name).spec.maximum_expected_uptime for name in {RepoName(row.project, row.name) for row in rows}}
    for row in rows:
        name = RepoName(row.project, row.name)
        expected = uptimes[name]
        if expected is not None and (now - row.started).total_seconds() > expected:
            found.append(Alert(name, row.set_id, now - row.started, dt.timedelta(seconds=expected)))
    return found
