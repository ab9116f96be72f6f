"""How the workers of a pipeline in pods are: for `inspect pipeline`."""

from collections.abc import Sequence

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pfs.store_ids import find_own_store_id
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.record import Record


def workers_documents(record: Record, pipeline: Pipeline) -> Sequence[Fields] | None:
    """Those of a pipeline, a document for each Job or Deployment; None where code runs on this machine, or the cluster does not say, which is noted."""
    settings = record.settings.kubernetes
    if settings is None:
        return None
    with record.database.read() as txn:
        home = find_own_store_id(txn.connection)
    if home is None:
        return []
    try:
        spec, list_workers = pipeline.spec, load("pachyderm_dagster.executors.choosing:list_workers")
        found = list_workers(settings, home, pipeline.name, staying=spec.autoscaling, kept=spec.runs_on)
    except PachydermError as error:
        click.echo(f"note: the cluster does not say how its workers are: {error}", err=True)
        return None
    return [{"kind": one.kind, "name": one.name, "wanted": one.wanted, "running": one.running, "problem": one.problem} for one in found]


def show_workers(workers: Sequence[Fields] | None, *, runs_on: bool) -> str:
    """For people; empty where there is nothing to say. `runs_on`: of a service or a spout."""
    if workers is None:
        return ""
    return "; ".join(map(_show, workers)) or ("none now: what looks after services makes one" if runs_on else "none now: a job brings them")


def _show(one: Fields) -> str:
    problem = f", {one['problem']}" if one["problem"] else ""
    return f"{one['running']} of {one['wanted']} pods run ({one['kind']} {one['name']}){problem}"
