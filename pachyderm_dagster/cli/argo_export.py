"""`argo export`."""

from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.argo.exporting import DEFAULT_BRANCH, DEFAULT_IMAGE, DEFAULT_SECRET, ExportOptions, as_yaml, export_pipelines
from pachyderm_dagster.cli.export_kubeflow import commits_read, specs_of_home
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.spec_files import complete_specs, read_text
from pachyderm_dagster.exported.graph import plan_steps
from pachyderm_dagster.pps.pins import parse_pin
from pachyderm_dagster.storage.system_errors import storage_errors


@click.command(epilog="Example: pachyderm-dagster argo export edges montage -o template.yaml")
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@click.option("-f", "--file", "source", metavar="PATH|URL|-", help="Instead of pipelines there are: those of this file.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="The file that is written; standard output unless given.")
@click.option("--commit", "pins", multiple=True, metavar="REPO@ID", help="Read this commit, not the head; may be repeated. REPO@BRANCH=ID of several branches.")
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
    if bool(pipelines) is (source is not None):
        raise click.UsageError("name pipelines, or a file of them (-f)", click.get_current_context())
    if head and pins:
        raise click.UsageError("--head names no commits, --commit does; remove one", click.get_current_context())
    specs = specs_of_home(environ, pipelines, project) if source is None else complete_specs(read_text(source))
    outside = list(dict.fromkeys(read for step in plan_steps(specs, project) for read in step.read_outside))
    found = {} if head else commits_read(environ, outside, [parse_pin(pin, project=project) for pin in pins])
    secret = home_secret if home_secret is not None else "" if home_claim else DEFAULT_SECRET
    text = as_yaml(export_pipelines(specs, ExportOptions(name, found, image, branch, secret, home_claim), project=project))
    if target is None:
        click.echo(text, nl=False)
        return
    with storage_errors("write", str(target)):
        target.write_text(text, encoding="utf-8")
