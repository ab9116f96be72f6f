"""What imports have in common: pipelines that were read, and what is told of what was left out."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.workspace import Workspace


def write_specs(path: str, documents: Iterable[dict[str, Any]]) -> None:
    """Writes specifications to a file, as `create pipeline` reads them."""
    with storage_errors("write", path):
        Path(path).write_text("".join(json.dumps(document, indent=2, ensure_ascii=False) + "\n" for document in documents))


def create(workspace: Workspace, specs: Sequence[PipelineSpec]) -> list[str]:
    """Creates pipelines; says which could not be, and why."""
    refused = []
    for spec in specs:
        try:
            workspace.pps.create_pipeline(spec)
        except PachydermError as error:
            refused.append(f"pipeline '{spec.pipeline.name}': {error}")
    return refused


def tell_skipped(skipped: Sequence[str]) -> None:
    """Names what did not come along."""
    for each in skipped:
        click.echo(f"left out: {visible(each)}", err=True)
