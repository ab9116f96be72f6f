"""What there is in a record, as figures: jobs and datums by pipeline, commits, and how long the oldest job has waited."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoType
from pachyderm_dagster.pps.model import TERMINAL, JobState

_DATUMS = {"processed": t.job.c.data_processed, "skipped": t.job.c.data_skipped, "failed": t.job.c.data_failed, "recovered": t.job.c.data_recovered}


@dataclass(frozen=True, slots=True)
class Figures:
    """At one moment.

    Attributes:
        jobs: how many, by (project, pipeline, state).
        datums: of the jobs that there are, by (project, pipeline, outcome).
        pipelines: how many, by (project, state).
        commits: how many, by project, those of the system left out.
        waiting: seconds since the oldest unfinished job was made, by project; of a project without one nothing.
    """

    jobs: Mapping[tuple[str, str, str], int]
    datums: Mapping[tuple[str, str, str], int]
    pipelines: Mapping[tuple[str, str], int]
    commits: Mapping[str, int]
    waiting: Mapping[str, float]


def read_figures(txn: Transaction, now: dt.datetime) -> Figures:
    """Four statements, whatever there is."""
    by_state = txn.all(
        sa.select(
            t.project.c.name.label("project"),
            t.pipeline.c.name.label("pipeline"),
            t.job.c.state,
            sa.func.count().label("jobs"),
            sa.func.min(t.job.c.created, type_=t.job.c.created.type).label("oldest"),
            *(sa.func.sum(column).label(outcome) for outcome, column in _DATUMS.items()),
        )
        .select_from(t.job.join(t.pipeline).join(t.project))
        .group_by(t.project.c.name, t.pipeline.c.name, t.job.c.state)
    )
    datums: dict[tuple[str, str, str], int] = {}
    oldest: dict[str, dt.datetime] = {}
    for row in by_state:
        for outcome in _DATUMS:
            key = (row.project, row.pipeline, outcome)
            datums[key] = datums.get(key, 0) + int(getattr(row, outcome))
        if JobState(row.state) not in TERMINAL:
            oldest[row.project] = min(row.oldest, oldest.get(row.project, row.oldest))
    states = txn.all(
        sa.select(t.project.c.name, t.pipeline.c.state, sa.func.count().label("pipelines"))
        .select_from(t.pipeline.join(t.project))
        .group_by(t.project.c.name, t.pipeline.c.state)
    )
    commits = txn.all(
        sa.select(t.project.c.name, sa.func.count().label("commits"))
        .select_from(t.commit.join(t.repo, t.commit.c.repo_id == t.repo.c.id).join(t.project, t.repo.c.project_id == t.project.c.id))
        .where(t.repo.c.type == RepoType.USER)
        .group_by(t.project.c.name)
    )
    return Figures(
        jobs={(row.project, row.pipeline, row.state): row.jobs for row in by_state},
        datums=datums,
        pipelines={(row.name, row.state): row.pipelines for row in states},
        commits={row.name: row.commits for row in commits},
        waiting={project: max(0.0, (now - created).total_seconds()) for project, created in oldest.items()},
    )
