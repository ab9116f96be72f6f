"""What tasks of Kubeflow Pipelines run in our image: commits into artifacts, and artifacts into commits."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.executors.egress import egress_run, run_egress
from pachyderm_dagster.exported.commits_read import find_commits, made_from
from pachyderm_dagster.exported.committing import Output, collect_artifact, collect_outputs, commit_outputs
from pachyderm_dagster.exported.provenance import parse_made_from, show_made_from
from pachyderm_dagster.kubeflow.executor_input import ExecutorInput, parse_executor_input
from pachyderm_dagster.kubeflow.getting import get_changes, get_files
from pachyderm_dagster.kubeflow.staging import stage_datums
from pachyderm_dagster.kubeflow.volume_folders import VolumeFolders, prepare_folders
from pachyderm_dagster.pfs.made_commits import MadeFrom
from pachyderm_dagster.pfs.model import BranchName, Origin
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pps.egress import Egress
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.workspace import open_workspace

DATA, OUT = "data", "out"


def _told(command: Callable[..., Any]) -> Callable[..., Any]:
    def read(_context: click.Context, _option: click.Parameter, given: str) -> ExecutorInput:
        return parse_executor_input(given)

    return click.option(
        "--executor-input", "told", required=True, callback=read, metavar="JSON", help="What Kubeflow puts in place of {{$}}: where outputs go."
    )(command)


def _on_volume(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--volume` and `--word`, which become the folders of a pipeline on a volume."""

    @click.option("--volume", "volume_path", metavar="FOLDER", help="Where the volume of the run is, in place of artifacts.")
    @click.option("--word", default="", metavar="WORD", help="The folder of the pipeline on the volume.")
    @functools.wraps(command)
    def with_folders(*args: Any, volume_path: str | None, word: str, **options: Any) -> None:
        if (volume_path is None) is bool(word):
            raise click.UsageError("--volume and --word go together", click.get_current_context())
        command(*args, volume=None if volume_path is None else VolumeFolders.of(word, volume_path), **options)

    return with_folders


def _branch(text: str, project: str) -> BranchName:
    return parse_reference(text, project=project).branch()


@click.command(epilog="Example: pachyderm-dagster kubeflow stage --spec SPEC --commit images@master ID --data FOLDER --executor-input '{{$}}'")
@click.option("--spec", required=True, metavar="JSON", help="What is read: a pipeline specification with its input.")
@click.option("--commit", "asked", type=(str, str), multiple=True, metavar="BRANCH ID", help="The commit of a branch that is read; its head when ID is empty.")
@click.option(
    "--imported", type=(str, str), multiple=True, metavar="BRANCH URI", help="A branch whose files another artifact has, and where it was imported from."
)
@click.option("--shares", type=click.IntRange(min=1), default=1, show_default=True, help="For so many pods.")
@click.option("--pinned", is_flag=True, help="Refuse a branch without an id, since the result may be kept.")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="The folder of the artifact.")
@_on_volume
@_told
@in_project
@click.pass_obj
def stage(
    environ: Mapping[str, str],
    spec: str,
    asked: tuple[tuple[str, str], ...],
    imported: tuple[tuple[str, str], ...],
    shares: int,
    pinned: bool,
    folder: Path | None,
    volume: VolumeFolders | None,
    told: ExecutorInput,
    project: str,
) -> None:
    """The first task of an exported pipeline: the datums of commits as an artifact, or on a volume."""
    if (folder is None) is (volume is None):
        raise click.UsageError("say where to: --data for an artifact, or --volume with --word", click.get_current_context())
    if volume is not None:
        prepare_folders(volume)
        folder = volume.data
    assert folder is not None
    read = PipelineSpec.from_json(spec)
    with closing(open_workspace(environ, project=read.pipeline.project or project)) as workspace:
        wanted = {_branch(branch, project): id for branch, id in asked}
        others = {_branch(branch, project): uri for branch, uri in imported}
        own_project = read.pipeline.project or project
        staged = stage_datums(workspace, read, wanted, folder, shares=shares, pinned=pinned, project=own_project, imported=others)
    text = show_made_from(staged.made_from)
    told.write(
        {"datums": staged.datums, "made_from": text},
        {} if volume is not None else {DATA: {"commits": text, "datums": staged.datums}},
    )
    click.echo(f"{staged.datums} datums of {text}")


@click.command(epilog="Example: pachyderm-dagster kubeflow commit --branch edges@kubeflow --made-from TEXT --datums 2 --executor-input '{{$}}'")
@click.option("--branch", "target", required=True, metavar="REPO@BRANCH", help="Where the output goes; made when missing.")
@click.option("--made-from", "made_from_text", required=True, metavar="TEXT", help="The commits that were read, as `kubeflow stage` says them.")
@click.option("--datums", type=click.IntRange(min=0), required=True, help="How many have to have ended.")
@click.option("--shares", type=click.IntRange(min=1), default=1, show_default=True, help="In how many pods.")
@click.option("--egress", "egress_text", default="", metavar="JSON", help="Where the output goes beside its repo.")
@_on_volume
@_told
@in_project
@click.pass_obj
def commit(
    environ: Mapping[str, str],
    target: str,
    made_from_text: str,
    datums: int,
    shares: int,
    egress_text: str,
    volume: VolumeFolders | None,
    told: ExecutorInput,
    project: str,
) -> None:
    """The last task of an exported pipeline: what its datums wrote as a commit, whose provenance is what was read. The same once more is the same commit."""
    branch = _branch(target, project)
    folders = told.input_folders(OUT) if volume is None else [volume.out]
    outputs = collect_outputs(folders, datums=datums, shares=shares)
    description = f"Output of pipeline {branch.repo.name} in Kubeflow."
    egress = msgspec.json.decode(egress_text, type=Egress) if egress_text else None
    _commit(environ, branch, outputs, parse_made_from(made_from_text, project=project), told, Origin.AUTO, description, egress)


@click.command(epilog="Example: pachyderm-dagster kubeflow head --repo images --executor-input '{{$}}'")
@click.option("--repo", required=True, metavar="REPO", help="What is read.")
@click.option("--branch", default="master", show_default=True, help="Of the repo.")
@_told
@in_project
@click.pass_obj
def head(environ: Mapping[str, str], repo: str, branch: str, told: ExecutorInput, project: str) -> None:
    """The component pfs_head: the id of the newest commit of a branch that is finished without an error."""
    name = _branch(f"{repo}@{branch}", project)
    with closing(open_workspace(environ, project=project)) as workspace:
        found = find_commits(workspace, {name: ""}, pinned=False)[name]
    told.write({"commit": found.id}, {})
    click.echo(str(found))


@click.command(epilog="Example: pachyderm-dagster kubeflow get --repo images --commit ID --data FOLDER --executor-input '{{$}}'")
@click.option("--repo", required=True, metavar="REPO", help="What is read.")
@click.option("--branch", default="master", show_default=True, help="Through which it is read.")
@click.option("--commit", "id", required=True, metavar="ID", help="The commit.")
@click.option("--path", default="/", show_default=True, help="A file, a directory or a pattern.")
@click.option("--made-from", "before", default="", metavar="TEXT", help="Commits that were read before, to be told with this one.")
@click.option("--data", "folder", type=click.Path(path_type=Path), required=True, help="The folder of the artifact.")
@_told
@in_project
@click.pass_obj
def get(environ: Mapping[str, str], repo: str, branch: str, id: str, path: str, before: str, folder: Path, told: ExecutorInput, project: str) -> None:
    """The component pfs_get: files of a commit as an artifact."""
    name, read = _branch(f"{repo}@{branch}", project), parse_made_from(before, project=project)
    with closing(open_workspace(environ, project=project)) as workspace:
        found = find_commits(workspace, {name: id}, pinned=True)
        count = get_files(workspace, found[name], path, folder)
    text = show_made_from([*read, *made_from(found)])
    told.write(
        {"commit": found[name].id, "made_from": text, "files": count},
        {DATA: {"repo": str(name.repo), "branch": name.name, "commit": found[name].id, "path": path, "files": count}},
    )
    click.echo(f"{count} files of {found[name]}")


@click.command(epilog="Example: pachyderm-dagster kubeflow put --repo scores --data FOLDER --made-from TEXT --executor-input '{{$}}'")
@click.option("--repo", required=True, metavar="REPO", help="Where it goes; made when missing.")
@click.option("--branch", default="master", show_default=True, help="Of the repo; made when missing.")
@click.option("--made-from", "made_from_text", default="", metavar="TEXT", help="The commits that it was made from, as `kubeflow get` says them.")
@click.option("--description", default="", help="Of the commit.")
@click.option("--data", "folder", type=click.Path(path_type=Path), required=True, help="The folder, or the file, of the artifact.")
@_told
@in_project
@click.pass_obj
def put(environ: Mapping[str, str], repo: str, branch: str, made_from_text: str, description: str, folder: Path, told: ExecutorInput, project: str) -> None:
    """The component pfs_put: an artifact as a commit, which is all that the branch then holds. The same once more is the same commit."""
    name = _branch(f"{repo}@{branch}", project)
    _commit(environ, name, collect_artifact(folder), parse_made_from(made_from_text, project=project), told, Origin.USER, description)


@click.command(epilog="Example: pachyderm-dagster kubeflow diff --repo images --new ID --data FOLDER --executor-input '{{$}}'")
@click.option("--repo", required=True, metavar="REPO", help="What is compared.")
@click.option("--branch", default="master", show_default=True, help="Through which it is read.")
@click.option("--new", required=True, metavar="ID", help="The newer commit.")
@click.option("--old", default="", metavar="ID", help="The older commit; the one that the newer one changed when empty.")
@click.option("--path", default="/", show_default=True, help="A file or a directory.")
@click.option("--data", "folder", type=click.Path(path_type=Path), required=True, help="The folder of the artifact.")
@_told
@in_project
@click.pass_obj
def diff(environ: Mapping[str, str], repo: str, branch: str, new: str, old: str, path: str, folder: Path, told: ExecutorInput, project: str) -> None:
    """The component pfs_diff: the files that differ between two commits as an artifact, and whether there are any."""
    name = _branch(f"{repo}@{branch}", project)
    with closing(open_workspace(environ, project=project)) as workspace:
        after = find_commits(workspace, {name: new}, pinned=True)
        before = find_commits(workspace, {name: old}, pinned=True)[name] if old else None
        found = get_changes(workspace, after[name], before, path, folder)
    counts = {"added": found.added, "changed": found.changed, "deleted": found.deleted}
    text = show_made_from(made_from(after))
    told.write(
        {"commit": after[name].id, "made_from": text, "is_different": found.any, **counts},
        {DATA: {"repo": str(name.repo), "branch": name.name, "commit": after[name].id, **counts}},
    )
    click.echo(f"{found.added} added, {found.changed} changed, {found.deleted} deleted in {after[name]}")


def _commit(
    environ: Mapping[str, str],
    branch: BranchName,
    outputs: Sequence[Output],
    read: list[MadeFrom],
    told: ExecutorInput,
    origin: Origin,
    description: str,
    egress: Egress | None = None,
) -> None:
    with closing(open_workspace(environ, project=branch.repo.project)) as workspace:
        made = commit_outputs(workspace, branch, outputs, read, origin=origin, description=description)
        if egress is not None:
            # A task that failed here is tried again: it finds its commit, and sends all once more, over what is there.
            sent = run_egress(egress_run(workspace, egress, made.tree), threading.Event())
            click.echo(f"sent {sent.files} files, {sent.bytes} bytes")
    provenance = show_made_from([MadeFrom(branch, made.id)])
    told.write({"commit": made.id, "made_from": provenance}, {})
    click.echo(f"{made}: {len(outputs)} files")
