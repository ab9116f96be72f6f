"""What the commands that export pipelines share: which pipelines, with which commits, and where to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import Command
from pachyderm_dagster.cli.spec_files import complete_specs, read_text
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.exported.graph import read_outside
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.heads import find_readable_head
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pps import pipelines as pps_pipelines
from pachyderm_dagster.pps.pins import Pin, parse_pin
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.system_errors import storage_errors

_WHICH = (
    click.argument("pipelines", nargs=-1, metavar="[PIPELINE]..."),
    click.option("-f", "--file", "source", metavar="PATH|URL|-", help="Instead of pipelines there are: those of this file."),
)
_SHARED = (
    click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), help="The file that is written; standard output unless given."),
    click.option(
        "--commit", "pins", multiple=True, metavar="REPO@ID", help="Read this commit, not the head; may be repeated. REPO@BRANCH=ID of several branches."
    ),
)


def exporting(command: Command) -> Command:
    """The arguments that every export takes: pipelines, `--file`, `--output`, `--commit`."""
    return _with(_with(command, _SHARED), _WHICH)


def writing_export(command: Command) -> Command:
    """Those that say nothing of which pipelines: `--output`, `--commit`."""
    return _with(command, _SHARED)


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def read_specs(
    environ: Mapping[str, str], pipelines: Sequence[str], source: str | None, pins: Sequence[str], *, head: bool, project: str
) -> tuple[list[PipelineSpec], dict[BranchName, str]]:
    """The specifications to be exported, and the ids of the commits that they read."""
    check_head(pins, head=head)
    specs = specs_named(environ, pipelines, source, project=project)
    return specs, commits_read(environ, specs, pins, head=head, project=project)


def check_head(pins: Sequence[str], *, head: bool) -> None:
    """Refuses commits where none are to be named."""
    if head and pins:
        raise click.UsageError("--head names no commits, --commit does; remove one", click.get_current_context())


def specs_named(environ: Mapping[str, str], pipelines: Sequence[str], source: str | None, *, project: str) -> list[PipelineSpec]:
    """The specifications of pipelines of the home, or those of a file."""
    if bool(pipelines) is (source is not None):
        raise click.UsageError("name pipelines, or a file of them (-f)", click.get_current_context())
    return _specs_of_home(environ, pipelines, project) if source is None else complete_specs(read_text(source))


def commits_read(environ: Mapping[str, str], specs: Sequence[PipelineSpec], pins: Sequence[str], *, head: bool, project: str) -> dict[BranchName, str]:
    """The ids of the commits that pipelines read from outside: those of the pins, or what is there now; none with `head`."""
    read = read_outside(specs, project=project)
    return {} if head else _commits_read(environ, read, [parse_pin(pin, project=project) for pin in pins])


def write_export(text: str, target: Path | None) -> None:
    """To a file, or else to standard output."""
    if target is None:
        click.echo(text, nl=False)
        return
    with storage_errors("write", str(target)):
        target.write_text(text, encoding="utf-8")


def _specs_of_home(environ: Mapping[str, str], names: Sequence[str], project: str) -> list[PipelineSpec]:
    with reading(environ) as txn:
        return [pps_pipelines.get_pipeline(txn, parse_repo(name, project=project)).spec for name in names]


def _commits_read(environ: Mapping[str, str], read: Sequence[BranchName], pins: Sequence[Pin]) -> dict[BranchName, str]:
    """The ids of what is read: that of the pin of each branch, or of what it holds."""
    pinned = {_branch_of(pin, read): pin for pin in pins}
    with reading(environ) as txn:
        return {branch: _commit(txn, branch, pinned.get(branch)).id for branch in read}


def _branch_of(pin: Pin, read: Sequence[BranchName]) -> BranchName:
    fitting = [branch for branch in read if branch.repo == pin.repo and pin.branch in (None, branch.name)]
    if len(fitting) != 1:
        known = ", ".join(f"'{branch}'" for branch in read) or "nothing"
        raise InvalidError("pin-invalid", f"--commit {pin} fits {len(fitting)} of the branches that are read from outside: {known}; name one of them")
    return fitting[0]


def _commit(txn: Transaction, branch: BranchName, pin: Pin | None) -> Commit:
    if pin is None:
        found = find_readable_head(txn, branch)
    else:
        found = commits.get_commit(txn, references.find_commit(txn, parse_reference(f"{pin.repo}@{pin.ref}")))
    if found is None:
        raise NotFoundError("commit-not-found", f"branch '{branch}' has no finished commit that a run could read; put files into it, or export with --head")
    if found.finished is None or found.error is not None:
        raise InvalidError("pin-invalid", f"commit '{found}' cannot be read; name one that is finished without an error")
    return found
