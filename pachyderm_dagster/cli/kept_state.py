"""The states of services and spouts as they are: what the record says of them, and whether somebody keeps their processes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pachyderm_dagster.coordination.leases import find_owners
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.executors.kept_processes import is_kept, process_folder
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pps.model import Pipeline, PipelineState


def as_kept(txn: Transaction, home: Path, found: Sequence[Pipeline]) -> list[Pipeline]:
    """The same pipelines; of those that are to have a process and of which nobody keeps it the state is STANDBY, and the reason what starts it."""
    leases = {one.key: process_lease(one.key) for one in found if one.spec.runs_on and one.state is not PipelineState.PAUSED}
    if not leases:
        return list(found)
    owners = find_owners(txn, [*leases.values()])
    idle = {key for key, lease in leases.items() if not is_kept(process_folder(home, key), owners.get(lease))}
    return [_standby(one) if one.key in idle else one for one in found]


def _standby(pipeline: Pipeline) -> Pipeline:
    reason = f"nobody keeps its process; `pachyderm-dagster dev` or `pachctl run service {pipeline.name.name}` does"
    before = f"; before that: {pipeline.reason}" if pipeline.reason else ""
    return dataclasses.replace(pipeline, state=PipelineState.STANDBY, reason=reason + before)
