"""`edit pipeline`: what a user wrote, in an editor, as the next version."""

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.cli.documents import user_text
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.pipeline_specs import make_pipelines
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.spec_files import read_text, user_specs
from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StateError
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.spec import UserSpec

EDITOR = "vi"


@click.command(epilog="Example: pachctl edit pipeline edges --reprocess")
@click.argument("pipeline")
@click.option("--reprocess", is_flag=True, help="Run every datum again instead of only those that changed.")
@click.option("--editor", metavar="COMMAND", help="Instead of $VISUAL, $EDITOR or vi.")
@in_project
@printing
@click.pass_obj
def edit_pipeline(environ: Mapping[str, str], pipeline: str, reprocess: bool, editor: str | None, project: str, printer: Printer) -> None:
    """The editor opens what was written, comments and all, without defaults. What is wrong is told with its place, and kept in a file."""
    name = parse_repo(pipeline, project=project)
    before = _current(environ, name)
    text = user_text(before)
    suffix = ".json" if text.lstrip()[:1] == "{" else ".yaml"
    with tempfile.NamedTemporaryFile("w", prefix=f"{name.name}-", suffix=suffix, delete=False, encoding="utf-8") as file:
        file.write(text)
    path = Path(file.name)
    keep = False
    try:
        _edit(path, editor or environ.get("VISUAL") or environ.get("EDITOR") or EDITOR)
        if path.read_bytes() == text.encode():
            raise StateError(
                "edit-unchanged", f"pipeline '{name}' stays as it is, for its text does; `pachctl rerun pipeline {name.name}` makes a job all the same"
            )
        keep = True
        spec = _read(path, name)
        if _current(environ, name).version != before.version:
            raise ConflictError("pipeline-changed", f"pipeline '{name}' was updated while it was edited; put your changes into its newest version")
        make_pipelines(environ, [spec], name.project, printer, update=True, reprocess=reprocess)
        keep = False
    except PachydermError:
        if keep:
            click.echo(f"note: your text is kept; correct it and use `pachctl update pipeline -f {path}`", err=True)
        raise
    finally:
        if not keep:
            path.unlink(missing_ok=True)


def _current(environ: Mapping[str, str], name: RepoName) -> Pipeline:
    with reading(environ) as txn:
        return pipelines.get_pipeline(txn, name)


def _edit(path: Path, editor: str) -> None:
    try:
        status = subprocess.run([*shlex.split(editor), path], check=False).returncode
    except (OSError, ValueError) as error:
        raise InvalidError("editor-failed", f"{editor!r} cannot be started: {error}; name another with --editor or EDITOR") from error
    if status:
        raise InvalidError("editor-failed", f"{editor!r} ended with status {status}, so nothing was changed")


def _read(path: Path, name: RepoName) -> UserSpec:
    found = user_specs(read_text(str(path)))
    if len(found) > 1:
        raise InvalidError("spec-invalid", f"{path}: {len(found)} pipelines; one is edited at a time")
    given = found[0].pipeline
    if given.in_project(name.project) != name:
        raise InvalidError("spec-invalid", f"{path}: pipeline.name: it is '{given.name}', and '{name}' is edited; a pipeline keeps its name and project")
    return found[0]
