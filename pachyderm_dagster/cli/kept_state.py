"""The states of services and spouts as they are: what the record says of them, and whether somebody keeps their processes."""

import dataclasses
from collections.abc import Sequence

from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.executors.kept_processes import is_kept, process_folder
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.settings import Settings


def as_kept(leases: Leases, settings: Settings, found: Sequence[Pipeline]) -> list[Pipeline]:
    """The same pipelines; of those that are to have a process and of which nobody keeps it the state is STANDBY, and the reason what starts it.

    Pods are kept by Kubernetes, and how they do is in the record.
    """
    if settings.kubernetes is not None:
        return list(found)
    home = settings.home
    names = {one.key: process_lease(one.key) for one in found if one.spec.runs_on and one.state is not PipelineState.PAUSED}
    if not names:
        return list(found)
    owners = leases.find_owners(names.values())
    idle = {key for key, lease in names.items() if not is_kept(process_folder(home, key), owners.get(lease))}
    return [_standby(one) if one.key in idle else one for one in found]


def _standby(pipeline: Pipeline) -> Pipeline:
    reason = f"nobody keeps its process; `pachyderm-dagster dev` or `pachctl run service {pipeline.name.name}` does"
    before = f"; before that: {pipeline.reason}" if pipeline.reason else ""
    return dataclasses.replace(pipeline, state=PipelineState.STANDBY, reason=reason + before)
