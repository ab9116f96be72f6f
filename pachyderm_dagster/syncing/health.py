"""How what a source declared does now, in Argo CD's words."""

import enum
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.kept_objects import KeptObject, KeptObjects
from pachyderm_dagster.argo.workflows import CronWorkflow
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.reference_texts import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import JobState, Pipeline, PipelineState
from pachyderm_dagster.syncing.differences import PIPELINE, Thing, object_name


class Health(enum.StrEnum):
    """How something does; the worst of several is that of all."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"  # somebody stopped it
    PROGRESSING = "Progressing"  # a job is not finished
    DEGRADED = "Degraded"  # its last job failed, or its process ends again and again
    MISSING = "Missing"  # somebody removed it


_FROM_BEST = tuple(Health)


class ThingHealth(msgspec.Struct, frozen=True):
    """How a thing does, and why it is not healthy."""

    thing: Thing
    health: Health
    reason: str = ""


def health_of(txn: Transaction, home: Path, things: Iterable[Thing]) -> list[ThingHealth]:
    """How each of these does."""
    objects = KeptObjects(home)
    return [_of(txn, objects, thing) for thing in things]


def worst(found: Iterable[ThingHealth]) -> Health:
    """How all of them do together."""
    return max((one.health for one in found), key=_FROM_BEST.index, default=Health.HEALTHY)


def _of(txn: Transaction, objects: KeptObjects, thing: Thing) -> ThingHealth:
    name = object_name(thing)
    if name is not None:
        kept = objects.find(name)
        health, reason = (Health.MISSING, "the home does not keep it") if kept is None else of_object(kept)
    elif thing.kind == PIPELINE:
        pipeline = pipelines.find_pipeline(txn, parse_repo(thing.name))
        health, reason = (Health.MISSING, "it is not there") if pipeline is None else of_pipeline(pipeline)
    else:
        is_there = repos.find_repo(txn, parse_repo(thing.name)) is not None
        health, reason = (Health.HEALTHY, "") if is_there else (Health.MISSING, "it is not there")
    return ThingHealth(thing, health, reason)


def of_pipeline(pipeline: Pipeline) -> tuple[Health, str]:
    """How a pipeline does, and why."""
    job = pipeline.last_job_state
    if pipeline.state is PipelineState.CRASHING:
        return Health.DEGRADED, pipeline.reason or "its process ends again and again"
    if pipeline.state is PipelineState.PAUSED:
        return Health.SUSPENDED, "it is stopped"
    if job is not None and not job.is_terminal:
        return Health.PROGRESSING, f"its job is {job}"
    if job is not None and job is not JobState.SUCCESS:
        return Health.DEGRADED, f"its last job is {job}"
    return Health.HEALTHY, ""


def of_object(kept: KeptObject) -> tuple[Health, str]:
    """How an object of Argo does, and why."""
    found = kept.read().object
    return (Health.SUSPENDED, "it is suspended") if isinstance(found, CronWorkflow) and found.spec.suspend else (Health.HEALTHY, "")
