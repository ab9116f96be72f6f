"""Whether pods can be as pipelines ask for them, before commands make these pipelines."""

from collections.abc import Sequence

import click

from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.settings import Settings


def check_pods(settings: Settings, specs: Sequence[PipelineSpec], project: str) -> None:
    """Nothing where jobs run on this machine. That the cluster does not answer is a note. Errors as `choosing.check_pods`."""
    if settings.kubernetes is not None:
        load("pachyderm_dagster.executors.choosing:check_pods")(settings, specs, project, tell=lambda line: click.echo(f"note: {line}", err=True))
