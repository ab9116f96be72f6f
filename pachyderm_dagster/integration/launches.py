"""What the pipelines of a run are to do, when a user started it: what the configuration of each says, and the tags of the run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.asset_branches import pin_tag
from pachyderm_dagster.integration.branch_assets import KeyOf
from pachyderm_dagster.integration.launch_config import PipelineConfig
from pachyderm_dagster.integration.pin_checks import check_tags
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.pins import Pin, make_pin


@dataclass(frozen=True, slots=True)
class Launch:
    """What the pipelines of a run are to do."""

    pins: tuple[Pin, ...] = ()
    reprocess: frozenset[RepoName] = frozenset()


def read_launch(txn: Transaction, run: dg.DagsterRun, steps: Mapping[RepoName, str], key_of: KeyOf, read: Collection[dg.AssetKey] = ()) -> Launch:
    """What the configuration of a run says of its pipelines, and which of their inputs its tags pin, as they do for an IO manager.

    Args:
        steps: the name of the step of each pipeline.
        read: the assets that the run's steps read, as far as Dagster knows: those that are no pipelines may have pins of their own.

    Raises:
        InvalidError: `reference-invalid`, `name-invalid`; `pin-invalid`, for a tag that pins nothing of the run.
        NotFoundError: `pipeline-not-found`.
    """
    ops: Any = run.run_config.get("ops", {})
    said = {name: PipelineConfig(**ops.get(step, {}).get("config", {})) for name, step in steps.items()}
    pins = [make_pin(read, ref, project=name.project) for name, config in said.items() for read, ref in config.inputs.items()]
    if any(tag.startswith(labels.PIN_PREFIX) for tag in run.tags):
        pins += _pins_by_tag(txn, run.tags, steps, key_of, read)
    return Launch(tuple(dict.fromkeys(pins)), frozenset(name for name, config in said.items() if config.reprocess))


def _pins_by_tag(txn: Transaction, tags: Mapping[str, str], steps: Mapping[RepoName, str], key_of: KeyOf, read: Collection[dg.AssetKey]) -> list[Pin]:
    keys = {branch: key_of(branch) for name in steps for branch in pipelines.get_pipeline(txn, name).inputs}
    check_tags(tags, {*keys.values(), *read})
    tagged = {branch: tags.get(pin_tag(key)) for branch, key in keys.items()}
    return [Pin(branch.repo, ref, branch.name) for branch, ref in tagged.items() if ref is not None]
