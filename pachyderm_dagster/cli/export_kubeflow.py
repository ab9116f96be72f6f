"""`export kubeflow`."""

from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.cli.exporting import exporting, specs_named
from pachyderm_dagster.cli.exporting_kubeflow import export_to_kubeflow, exporting_kubeflow
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.kubeflow.options import Options


@click.command(epilog="Example: pachyderm-dagster export kubeflow edges montage -o pipeline.yaml")
@exporting
@exporting_kubeflow
@in_project
@click.pass_obj
def export_kubeflow(
    environ: Mapping[str, str],
    pipelines: tuple[str, ...],
    source: str | None,
    target: Path | None,
    pins: tuple[str, ...],
    head: bool,
    options: Options,
    project: str,
) -> None:
    """Each pipeline becomes tasks that read commits, run its code in its image, and commit. What they read of one another comes from the run; the commits of
    all else are parameters, and their defaults what is there now. kfp is not needed for it.
    """
    specs = specs_named(environ, pipelines, source, project=project)
    export_to_kubeflow(environ, specs, options, target, pins, head=head, project=project)
