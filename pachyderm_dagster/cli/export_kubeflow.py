"""`export kubeflow`."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click

from pachyderm_dagster.cli.exporting import exporting, read_specs, write_export
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.exported.commits_read import find_commits
from pachyderm_dagster.kubeflow.export import export_pipelines
from pachyderm_dagster.kubeflow.options import DEFAULT_HOME_SECRET, DEFAULT_IMAGE, DEFAULT_OUTPUT_BRANCH, AccessMode, Options, Transport, Volume
from pachyderm_dagster.kubeflow.published import publish_commit
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.workspace import open_workspace

_VOLUME = Volume()


@click.command(epilog="Example: pachyderm-dagster export kubeflow edges montage -o pipeline.yaml")
@exporting
@click.option("--head", is_flag=True, help="Name no commits: a run reads what is there then, and Kubeflow keeps nothing of that.")
@click.option("--name", default="", metavar="NAME", help="Of the pipeline in Kubeflow; that of the last pipeline unless given.")
@click.option("--branch", default=DEFAULT_OUTPUT_BRANCH, show_default=True, metavar="NAME", help="Of the output repos, which runs write.")
@click.option("--image", default=DEFAULT_IMAGE, show_default=True, help="Of the tasks that read and write commits.")
@click.option("--home-secret", default=DEFAULT_HOME_SECRET, show_default=True, metavar="NAME", help="The Secret with the variables that open the home.")
@click.option(
    "--transport",
    type=click.Choice([one.value for one in Transport]),
    default=Transport.ARTIFACT.value,
    show_default=True,
    help="How files get to user code: as artifacts of ours, on a volume of the run (images without a shell, much data), or as artifacts that are imported.",
)
@click.option("--volume-size", metavar="QUANTITY", help=f"Of that volume; {_VOLUME.size} unless given.")
@click.option("--storage-class", metavar="NAME", help=f"That makes the volume; {_VOLUME.storage_class} unless given.")
@click.option("--access-mode", type=click.Choice([one.value for one in AccessMode]), help=f"Of the volume; {_VOLUME.access_mode.value} unless given.")
@click.option(
    "--artifact-root", metavar="URL", help="Of --transport importer: the commits are written below it, as `export files` does, and imported from there."
)
@in_project
@click.pass_obj
def export_kubeflow(
    environ: Mapping[str, str],
    pipelines: tuple[str, ...],
    source: str | None,
    target: Path | None,
    pins: tuple[str, ...],
    head: bool,
    name: str,
    branch: str,
    image: str,
    home_secret: str,
    transport: str,
    volume_size: str | None,
    storage_class: str | None,
    access_mode: str | None,
    artifact_root: str | None,
    project: str,
) -> None:
    """Each pipeline becomes tasks that read commits, run its code in its image, and commit. What they read of one another comes from the run; the commits of
    all else are parameters, and their defaults what is there now. kfp is not needed for it.
    """
    if transport != Transport.VOLUME.value and (volume_size or storage_class or access_mode):
        raise click.UsageError("--volume-size, --storage-class and --access-mode are of --transport volume", click.get_current_context())
    if (transport == Transport.IMPORTER.value) is (artifact_root is None):
        raise click.UsageError("--transport importer and --artifact-root go together", click.get_current_context())
    specs, found = read_specs(environ, pipelines, source, pins, head=head, project=project)
    volume = Volume(volume_size or _VOLUME.size, storage_class or _VOLUME.storage_class, AccessMode(access_mode or _VOLUME.access_mode))
    options = Options(name, found, image, home_secret, branch, Transport(transport), volume, artifact_root or "")
    exported = export_pipelines(specs, options, project=project)
    for note in exported.notes:
        click.echo(f"note: {note}", err=True)
    if artifact_root is not None:
        _publish(environ, found, artifact_root, project)
    write_export(exported.to_yaml(), target)


def _publish(environ: Mapping[str, str], read: Mapping[BranchName, str], root: str, project: str) -> None:
    with closing(open_workspace(environ, project=project)) as workspace:
        for commit in find_commits(workspace, read, pinned=True).values():
            publish_commit(workspace, commit, root)
