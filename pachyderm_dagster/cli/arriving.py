"""What imports have in common: pipelines that were read, and what is told of what was left out."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.moving.arriving_pipelines import ArrivingPipeline
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.workspace import Workspace


def write_specs(path: str, pipelines: Iterable[ArrivingPipeline]) -> None:
    """Writes specifications to a file, as `create pipeline` reads them."""
    with storage_errors("write", path):
        Path(path).write_text("".join(json.dumps(each.document, indent=2, ensure_ascii=False) + "\n" for each in pipelines))


def create(workspace: Workspace, pipelines: Iterable[ArrivingPipeline]) -> list[str]:
    """Creates pipelines; says which could not be, and why."""
    refused = []
    for each in pipelines:
        try:
            workspace.pps.create_pipeline(each.spec)
        except PachydermError as error:
            refused.append(f"pipeline '{each.spec.pipeline.name}': {error}")
    return refused


def tell_skipped(skipped: Sequence[str]) -> None:
    """Names what did not come along."""
    for each in skipped:
        click.echo(f"left out: {visible(each)}", err=True)
