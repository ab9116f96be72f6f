"""The snapshot of a record, in one look."""

from collections.abc import Mapping

import sqlalchemy as sa

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.snapshot import AssetBranch, InputBranch, LoadedPipeline, Snapshot
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, RepoName, RepoType
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.record import open_record


def look(environ: Mapping[str, str]) -> Snapshot:
    """The snapshot of the workspace that `environ` names. Errors as `building.build_definitions`."""
    record = open_record(environ)
    try:
        with record.database.read() as txn:
            return read_snapshot(txn)
    finally:
        record.database.close()


def read_snapshot(txn: Transaction) -> Snapshot:
    """The snapshot of the record as it is now."""
    # A service or a spout is no step that Dagster runs: what it writes is a branch from outside.
    found = [pipeline for pipeline in pipelines.list_pipeline(txn) if not pipeline.spec.runs_on]
    loaded = tuple(LoadedPipeline(pipeline.name, pipeline.version, pipeline.spec) for pipeline in found)
    outputs = {pipeline.output for pipeline in loaded}
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.repo.c.name.label("repo"), t.repo.c.description, t.branch.c.name.label("branch"), t.branch.c.metadata)
        .join_from(t.branch, t.repo)
        .join(t.project)
        .where(t.repo.c.type == RepoType.USER, t.branch.c.head_id.is_not(None))
        .order_by(t.project.c.name, t.repo.c.name, t.branch.c.name)
    )
    branches = [(InputBranch(BranchName(RepoName(row.project, row.repo), row.branch), row.description), row.metadata.get(labels.WRITING_ASSET)) for row in rows]
    projects = {row.name for row in txn.all(sa.select(t.project.c.name))} | {DEFAULT_PROJECT}
    return Snapshot(
        projects=tuple(sorted(projects)),
        branches=tuple(branch for branch, asset in branches if asset is None and branch.name not in outputs),
        pipelines=loaded,
        assets=tuple(AssetBranch(branch.name, asset) for branch, asset in branches if asset is not None and branch.name not in outputs),
    )
