"""What the steps of a workflow run that pipelines were exported to: `argo plan`, `argo stage`, `argo commit`."""

import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click
import msgspec

from pachyderm_dagster.argo.datum_steps import commit_parts, plan_datums, stage_datum
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.exported.provenance import parse_made_from, show_made_from
from pachyderm_dagster.pfs.reference_texts import parse_reference
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.workspace import open_workspace

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example: pachyderm-dagster argo plan spec.json --commit images@master ID --items items.json --tasks tasks --made-from made-from")
@click.argument("spec", type=_FILE)
@click.option("--commit", "asked", type=(str, str), multiple=True, metavar="BRANCH ID", help="The commit of a branch that is read; its head when ID is empty.")
@click.option("--items", required=True, type=_FILE, help="The file for the list of datums, with the variables of each.")
@click.option("--tasks", required=True, type=click.Path(path_type=Path), help="The folder for what each datum reads.")
@click.option("--made-from", "made_from", required=True, type=_FILE, help="The file for the commits that are read.")
@in_project
@click.pass_obj
def argo_plan(environ: Mapping[str, str], spec: Path, asked: tuple[tuple[str, str], ...], items: Path, tasks: Path, made_from: Path, project: str) -> None:
    """The first step of an exported pipeline."""
    with storage_errors("read", str(spec)):
        read = PipelineSpec.from_json(spec.read_bytes())
    own = read.pipeline.project or project
    with closing(open_workspace(environ, project=own)) as workspace:
        wanted = {parse_reference(branch, project=own).branch(): id for branch, id in asked}
        planned = plan_datums(workspace, read, wanted, tasks, project=own)
    text = show_made_from(planned.made_from)
    _write(items, msgspec.json.encode(planned.items).decode())
    _write(made_from, text)
    click.echo(f"{len(planned.items)} datums of {text}")


@click.command(epilog="Example: pachyderm-dagster argo stage tasks/0.json /pfs")
@click.argument("datum", type=_FILE)
@click.argument("folder", type=click.Path(path_type=Path))
@in_project
@click.pass_obj
def argo_stage(environ: Mapping[str, str], datum: Path, folder: Path, project: str) -> None:
    """Before the code of a pipeline runs: all that is in the folder is replaced by what a datum reads."""
    with storage_errors("read", str(datum)):
        task = datum.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
    with closing(open_workspace(environ, project=project)) as workspace:
        stage_datum(workspace, task, str(folder))


@click.command(epilog="Example: pachyderm-dagster argo commit edges@argo parts --made-from TEXT")
@click.argument("branch", metavar="REPO@BRANCH")
@click.argument("parts", type=click.Path(path_type=Path))
@click.option("--made-from", "made_from", required=True, metavar="TEXT", help="The commits that were read, as `argo plan` says them.")
@click.option("--id-to", "target", type=_FILE, help="A file for the id of the commit.")
@in_project
@click.pass_obj
def argo_commit(environ: Mapping[str, str], branch: str, parts: Path, made_from: str, target: Path | None, project: str) -> None:
    """The last step of an exported pipeline: what its datums wrote, an archive of each, as a commit whose provenance is what was read. The same once more is
    the same commit.
    """
    name = parse_reference(branch, project=project).branch()
    with closing(open_workspace(environ, project=project)) as workspace, tempfile.TemporaryDirectory() as scratch:
        made = commit_parts(workspace, name, parts, parse_made_from(made_from, project=project), Path(scratch))
    if target is not None:
        _write(target, made.id)
    click.echo(str(made))


def _write(path: Path, text: str) -> None:
    with storage_errors("write", str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
