"""What the commands that export to Kubeflow share: how, and writing it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pachyderm_dagster.cli.exporting import check_head, commits_read, write_export
from pachyderm_dagster.exported.commits_read import find_commits
from pachyderm_dagster.kubeflow.export import export_pipelines
from pachyderm_dagster.kubeflow.options import DEFAULT_HOME_SECRET, DEFAULT_IMAGE, DEFAULT_OUTPUT_BRANCH, AccessMode, Options, Transport, Volume
from pachyderm_dagster.kubeflow.published import publish_commit
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.workspace import open_workspace

_VOLUME = Volume()
_OPTIONS = (
    click.option("--head", is_flag=True, help="Name no commits: a run reads what is there then, and Kubeflow keeps nothing of that."),
    click.option("--name", default="", metavar="NAME", help="Of the pipeline in Kubeflow; that of the last pipeline unless given."),
    click.option("--branch", default=DEFAULT_OUTPUT_BRANCH, show_default=True, metavar="NAME", help="Of the output repos, which runs write."),
    click.option("--image", default=DEFAULT_IMAGE, show_default=True, help="Of the tasks that read and write commits."),
    click.option("--home-secret", default=DEFAULT_HOME_SECRET, show_default=True, metavar="NAME", help="The Secret with the variables that open the home."),
    click.option(
        "--transport",
        type=click.Choice([one.value for one in Transport]),
        default=Transport.ARTIFACT.value,
        show_default=True,
        help="How files get to user code: as artifacts of ours, on a volume of the run (images without a shell, much data), or as artifacts that are imported.",
    ),
    click.option("--volume-size", metavar="QUANTITY", help=f"Of that volume; {_VOLUME.size} unless given."),
    click.option("--storage-class", metavar="NAME", help=f"That makes the volume; {_VOLUME.storage_class} unless given."),
    click.option("--access-mode", type=click.Choice([one.value for one in AccessMode]), help=f"Of the volume; {_VOLUME.access_mode.value} unless given."),
    click.option(
        "--artifact-root", metavar="URL", help="Of --transport importer: the commits are written below it, as `export files` does, and imported from there."
    ),
)


def exporting_kubeflow(command: Callable[..., None]) -> Callable[..., Any]:
    """The options that every export to Kubeflow takes, which the command gets as `options`, without commits, and `head`."""

    @functools.wraps(command)
    def with_options(
        *args: Any,
        name: str,
        branch: str,
        image: str,
        home_secret: str,
        transport: str,
        volume_size: str | None,
        storage_class: str | None,
        access_mode: str | None,
        artifact_root: str | None,
        **others: Any,
    ) -> None:
        context = click.get_current_context()
        check_head(others["pins"], head=others["head"])
        if transport != Transport.VOLUME.value and (volume_size or storage_class or access_mode):
            raise click.UsageError("--volume-size, --storage-class and --access-mode are of --transport volume", context)
        if (transport == Transport.IMPORTER.value) is (artifact_root is None):
            raise click.UsageError("--transport importer and --artifact-root go together", context)
        volume = Volume(volume_size or _VOLUME.size, storage_class or _VOLUME.storage_class, AccessMode(access_mode or _VOLUME.access_mode))
        options = Options(name, {}, image, home_secret, branch, Transport(transport), volume, artifact_root or "")
        command(*args, options=options, **others)

    found: Callable[..., Any] = with_options
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def export_to_kubeflow(
    environ: Mapping[str, str], specs: Sequence[PipelineSpec], options: Options, target: Path | None, pins: Sequence[str], *, head: bool, project: str
) -> None:
    """Exports pipelines with the commits that they read, and writes these to the bucket from which they are imported."""
    options = replace(options, commits=commits_read(environ, specs, pins, head=head, project=project))
    exported = export_pipelines(specs, options, project=project)
    for note in exported.notes:
        click.echo(f"note: {note}", err=True)
    if options.transport is Transport.IMPORTER:
        _publish(environ, options.commits, options.artifact_root, project)
    write_export(exported.to_yaml(), target)


def _publish(environ: Mapping[str, str], read: Mapping[BranchName, str], root: str, project: str) -> None:
    with closing(open_workspace(environ, project=project)) as workspace:
        for commit in find_commits(workspace, read, pinned=True).values():
            publish_commit(workspace, commit, root)
