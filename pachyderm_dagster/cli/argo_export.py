"""`argo export`."""

from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.argo.exporting import DEFAULT_BRANCH, DEFAULT_IMAGE, DEFAULT_SECRET, ExportOptions, as_yaml, export_pipelines
from pachyderm_dagster.cli.exporting import exporting, read_specs, write_export
from pachyderm_dagster.cli.options import in_project


@click.command(epilog="Example: pachyderm-dagster argo export edges montage -o template.yaml")
@exporting
@click.option("--head", is_flag=True, help="Name no commits: a workflow reads what is there then.")
@click.option("--name", default="", metavar="NAME", help="Of the WorkflowTemplate; that of the last pipeline unless given.")
@click.option("--branch", default=DEFAULT_BRANCH, show_default=True, metavar="NAME", help="Of the output repos, which workflows write.")
@click.option("--image", default=DEFAULT_IMAGE, show_default=True, help="Of the steps that read and write commits.")
@click.option("--home-secret", metavar="NAME", help=f"The Secret with the variables that open the home; {DEFAULT_SECRET} unless --home-claim is given.")
@click.option("--home-claim", default="", metavar="NAME", help="The volume claim that holds the home itself.")
@in_project
@click.pass_obj
def argo_export(
    environ: Mapping[str, str],
    pipelines: tuple[str, ...],
    source: str | None,
    target: Path | None,
    pins: tuple[str, ...],
    head: bool,
    name: str,
    branch: str,
    image: str,
    home_secret: str | None,
    home_claim: str,
    project: str,
) -> None:
    """A WorkflowTemplate: for each pipeline a step that finds the datums, a pod for each of them in the pipeline's own image, and a step that commits.

    What they read of one another comes from the workflow; the commits of all else are parameters, and their defaults what is there now.
    """
    specs, found = read_specs(environ, pipelines, source, pins, head=head, project=project)
    secret = home_secret if home_secret is not None else "" if home_claim else DEFAULT_SECRET
    text = as_yaml(export_pipelines(specs, ExportOptions(name, found, image, branch, secret, home_claim), project=project))
    write_export(text, target)
