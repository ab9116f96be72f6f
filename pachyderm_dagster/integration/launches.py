"""What the pipelines of a run are to do, when a user started it: by its configuration and tags, or as the commit set did that is its partition."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration.asset_branches import pin_tag
from pachyderm_dagster.integration.branch_assets import KeyOf
from pachyderm_dagster.integration.launch_config import PipelineConfig
from pachyderm_dagster.integration.pin_checks import check_tags
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Origin, RepoName, RepoType
from pachyderm_dagster.pfs.object_metadata import MetadataEdit, ObjectKind, Operation, edit_metadata
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.pins import Pin, make_pin, pins_of_jobs, run_pipelines


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


def repeat_set(txn: Transaction, set_id: str, chosen: Sequence[RepoName], launch: Launch) -> list[Job]:
    """Runs pipelines again on what their jobs of a commit set read, in this transaction's set; or gives the jobs that are still to be done in it.

    Of pipelines without a job in it nothing is done.

    Raises:
        NotFoundError: `commit-set-not-found`.
        InvalidError: `pin-invalid`, when the run pins inputs too; and as `run_pipelines`.
    """
    members = [job for job in jobs.list_job(txn, set_id=set_id) if job.pipeline in chosen]
    if not jobs.list_job(txn, set_id=set_id):
        raise NotFoundError("commit-set-not-found", f"partition '{set_id}' is no commit set with jobs; choose one of those that the sensor added")
    if launch.pins:
        raise InvalidError("pin-invalid", f"partition '{set_id}' says which commits are read, and the run pins '{launch.pins[0]}' too; leave one of them out")
    undone = [job for job in members if not job.state.is_terminal]
    if not undone and members:
        run_pipelines(txn, [job.pipeline for job in members], pins=pins_of_jobs(txn, members), reprocess=launch.reprocess)
    return undone


def mark_repeated(txn: Transaction, set_id: str, repeated: str) -> None:
    """Notes on the outputs of a set which set it repeats. Without that, as when a process dies before it, the set is a partition of its own."""
    made = [commit for commit in commits.list_commit(txn, set_id=set_id) if commit.origin is Origin.AUTO and commit.repo.type is RepoType.USER]
    edit_metadata(
        txn,
        [
            MetadataEdit(ObjectKind.COMMIT, f"{commit.repo.project}/{commit.repo.name}@{commit.id}", Operation.ADD, labels.REPEATED_SET, repeated)
            for commit in made
        ],
    )


def _pins_by_tag(txn: Transaction, tags: Mapping[str, str], steps: Mapping[RepoName, str], key_of: KeyOf, read: Collection[dg.AssetKey]) -> list[Pin]:
    keys = {branch: key_of(branch) for name in steps for branch in pipelines.get_pipeline(txn, name).inputs}
    check_tags(tags, {*keys.values(), *read})
    tagged = {branch: tags.get(pin_tag(key)) for branch, key in keys.items()}
    return [Pin(branch.repo, ref, branch.name) for branch, ref in tagged.items() if ref is not None]
