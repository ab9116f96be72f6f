"""`export assets`."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from pachyderm_dagster.cli.exporting import writing_export
from pachyderm_dagster.cli.exporting_kubeflow import export_to_kubeflow, exporting_kubeflow
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.integration.exported_assets import choose_pipelines, import_definitions
from pachyderm_dagster.kubeflow.functions import DEFAULT_PYTHON
from pachyderm_dagster.kubeflow.options import Options


@click.command(epilog="Example: pachyderm-dagster export assets my_project.definitions --job nightly --code-image registry/my-project:1 -o pipeline.yaml")
@click.argument("module", metavar="MODULE")
@writing_export
@click.option("--job", metavar="NAME", help="The assets of this job.")
@click.option("--select", "selection", metavar="SELECTION", help="The assets of this selection, in Dagster's words; all pipelines unless it or a job is given.")
@click.option("--code-image", metavar="IMAGE", help="In which the module and this package are installed, for functions that name no image of theirs.")
@click.option("--code-python", default=DEFAULT_PYTHON, show_default=True, metavar="PATH", help="The interpreter of that image.")
@exporting_kubeflow
@in_project
@click.pass_obj
def export_assets(
    environ: Mapping[str, str],
    module: str,
    target: Path | None,
    pins: tuple[str, ...],
    job: str | None,
    selection: str | None,
    code_image: str | None,
    code_python: str,
    head: bool,
    options: Options,
    project: str,
) -> None:
    """The `Definitions` of a module: each of its assets that is a pipeline, such as a `datum_asset`, becomes tasks of a pipeline of Kubeflow, in the order of
    the graph. Assets that others make are read by commit.
    """
    if job is not None and selection is not None:
        raise click.UsageError("--job and --select are one or the other", click.get_current_context())
    # As `dagster -m` does.
    sys.path.insert(0, os.getcwd())
    chosen = choose_pipelines(import_definitions(module), job=job, selection=selection, image=code_image, python=code_python)
    titled = replace(options, titles=chosen.titles, name=options.name or (job or "").replace("_", "-"))
    export_to_kubeflow(environ, chosen.specs, titled, target, pins, head=head, project=project)
