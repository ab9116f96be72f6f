"""What those who react to commits need to know of the definitions of a project, whoever holds these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.sensor_limits import USUAL, SensorLimits
from pachyderm_dagster.integration.snapshot import Snapshot
from pachyderm_dagster.pfs.model import RepoName


@dataclass(frozen=True, slots=True)
class ServedProject:
    """A project as a code location has it.

    Args:
        pipelines: the asset of each pipeline.
        assets: of all branches.
        by_set: the pipelines whose partitions are commit sets.
        by_run: those whose jobs only a run does right: their steps do more than that, or are to make the pipeline another one first.
        limits: of its commit sensor.
    """

    pipelines: Mapping[RepoName, dg.AssetKey]
    assets: BranchAssets
    by_set: frozenset[RepoName] = frozenset()
    by_run: frozenset[RepoName] = frozenset()
    limits: SensorLimits = USUAL


class Code(Protocol):
    """The code locations that hold the definitions of pipelines."""

    def serve(self, snapshot: Snapshot) -> Mapping[str, ServedProject]:
        """The projects that are loaded, by name, while the record is like this."""
        ...

    def launch(self, project: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Has these assets of a project run, with these tags; raises ExecutionError or UnreachableError when that cannot be."""
        ...
