"""The snapshot of a record, in one look."""

from collections.abc import Iterable, Mapping

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.snapshot import AssetBranch, InputBranch, LoadedPipeline, Snapshot
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.heads import HeadedBranch, list_headed
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
    headed = list_headed(txn)
    return Snapshot(
        projects=tuple(repos.project_names(txn)),
        branches=tuple(
            InputBranch(branch.name, branch.description) for branch in headed if labels.WRITING_ASSET not in branch.metadata and branch.name not in outputs
        ),
        pipelines=loaded,
        assets=tuple(branch for branch in _assets_in(headed) if branch.name not in outputs),
    )


def find_assets(txn: Transaction) -> tuple[AssetBranch, ...]:
    """The branches in which assets of other code are kept."""
    return _assets_in(list_headed(txn))


def _assets_in(headed: Iterable[HeadedBranch]) -> tuple[AssetBranch, ...]:
    return tuple(AssetBranch(branch.name, asset) for branch in headed if (asset := branch.metadata.get(labels.WRITING_ASSET)) is not None)
