"""`run datum`."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
import pyarrow as pa

from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Form, Printer, Times, show_size, text
from pachyderm_dagster.cli.source_folders import SourceFolders, only_spec
from pachyderm_dagster.cli.spec_files import read_text
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.one_datum import run_one
from pachyderm_dagster.executors.setups import worker_setup
from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.datum_choice import choose_datum
from pachyderm_dagster.pps.job_inputs import get_spec_commit
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.worker.one import OneResult
from pachyderm_dagster.worker.protocol import DatumTask, ResultState, WorkerSetup
from pachyderm_dagster.workspace import Workspace, open_workspace

_ANY = tuple(range(256))
COLUMNS = (Column("SIZE", lambda document, _: show_size(document["size_bytes"])), Column("NAME", text("path")))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is run: a datum of a pipeline, as it is or as a file says.

    Attributes:
        spec_commit: id of the commit that made this version of it.
        source: the files of its source folder, by path below it.
    """

    name: RepoName
    spec: PipelineSpec
    spec_commit: str
    source: tuple[tuple[str, Content], ...]


@click.command(epilog="Example: pachctl run datum edges /liberty.png -o made")
@click.argument("pipeline", metavar="[PIPELINE]")
@click.argument("datum", metavar="PATH|DATUM", required=False)
@click.option("-f", "--file", "file", metavar="PATH|URL|-", help="Instead of a pipeline there is: the one of this file, with its source folder as it is.")
@click.option("-b", "--build", type=click.Path(), metavar="FOLDER", help="With -f: the source folder, instead of transform.build.path.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="A folder for the files that it writes; they are only listed unless given.")
@click.option("--cmd", "command", metavar="COMMAND", help="Run this, in words as a shell reads them, instead of the pipeline's command and its stdin.")
@click.option("--shell", is_flag=True, help="Open a shell where the command would run.")
@click.option("--raw", is_flag=True, help="Print one JSON document.")
@in_project
@click.pass_obj
def run_datum(
    environ: Mapping[str, str],
    pipeline: str,
    datum: str | None,
    file: str | None,
    build: str | None,
    target: Path | None,
    command: str | None,
    shell: bool,
    raw: bool,
    project: str,
) -> int:
    """One datum of what the inputs hold now, tried once, in a /pfs of its own; nothing is committed. PATH is a file or directory that the datum reads, with
    INPUT: before it if need be; DATUM the beginning of an id. What the command prints is on standard error, and its exit status is that of this command.
    """
    if (datum is None) is (file is None):
        raise click.UsageError("name a pipeline (PIPELINE PATH) or a pipeline file (-f FILE PATH)", click.get_current_context())
    if build is not None and file is None:
        raise click.UsageError("--build is for a pipeline file (-f)", click.get_current_context())
    if shell and command is not None:
        raise click.UsageError("--shell and --cmd exclude each other", click.get_current_context())
    if shell and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--shell needs a terminal; --cmd runs a command without one", click.get_current_context())
    with closing(open_workspace(environ, project=project)) as workspace:
        chosen = _of_file(workspace, environ, file, build, project) if file is not None else _of_pipeline(workspace, pipeline, project)
        setup, task = _prepare(workspace, chosen, pipeline if datum is None else datum)
        if command is not None:
            setup = msgspec.structs.replace(setup, cmd=_words(command), stdin=(), datum_batching=False)
        if shell:
            # How it ends says what was typed last, not whether the output is good.
            setup = msgspec.structs.replace(
                setup, cmd=(environ.get("SHELL", "/bin/sh"),), stdin=(), err_cmd=(), accept_return_code=_ANY, datum_batching=False, terminal=True
            )
        if not setup.cmd:
            raise InvalidError("command-missing", f"pipeline '{chosen.name.name}' has no transform.cmd, so there is nothing to run; give --cmd")
        with run_one(setup, task, environ) as done:
            if target is not None:
                _write(workspace, done, target)
            _tell(task, done, Printer(Form.JSON if raw else Form.TABLE, Times(False, SystemClock().now())))
    return done.result.exit_code or 0 if shell else _status(done)


def _of_pipeline(workspace: Workspace, pipeline: str, project: str) -> _Chosen:
    with workspace.database.read() as txn:
        found = pipelines.get_pipeline(txn, parse_repo(pipeline, project=project))
        spec_commit = get_spec_commit(txn, found)
    source = workspace.pps.list_source(found.name, spec_commit) if found.spec.transform.build is not None else ()
    return _Chosen(found.name, found.spec, spec_commit, source)


def _of_file(workspace: Workspace, environ: Mapping[str, str], file: str, build: str | None, project: str) -> _Chosen:
    given = read_text(file)
    folders = SourceFolders.of(given, build)
    spec = only_spec(environ, given, folders, project)
    folder = folders.find(spec)
    source = () if folder is None else workspace.pps.files_of_source(workspace.pps.store_source(folder, but=folders.file).tree)
    return _Chosen(spec.pipeline.in_project(project), spec, "", source)


def _prepare(workspace: Workspace, chosen: _Chosen, datum: str) -> tuple[WorkerSetup, DatumTask]:
    planned = workspace.pps.plan_datum(chosen.spec, project=chosen.name.project)
    row = choose_datum(planned.datums, datum)
    (task,) = datum_tasks(workspace.pfs.trees, planned.datums, pa.array([row], pa.int64()), planned.sources)
    set_id = workspace.database.clock.new_id()
    setup = worker_setup(workspace, chosen.name, chosen.spec, set_id=set_id, spec_commit=chosen.spec_commit or set_id, source=chosen.source)
    return msgspec.structs.replace(setup, datum_tries=1, memory_volume=False), task


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise click.UsageError(f"--cmd {command!r} cannot be read: {error}", click.get_current_context()) from error


def _write(workspace: Workspace, done: OneResult, target: Path) -> None:
    with storage_errors("write", str(target)):
        target.mkdir(parents=True, exist_ok=True)
        for path, source in done.outputs:
            file = Path(f"{target}{path}")
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, Content):
                with file.open("wb") as out:
                    out.writelines(workspace.pfs.reader.stream(source))
            else:
                shutil.copyfile(source, file)


def _tell(task: DatumTask, done: OneResult, printer: Printer) -> None:
    outputs = [{"path": path, "size_bytes": source.size if isinstance(source, Content) else os.stat(source).st_size} for path, source in done.outputs]
    result = done.result
    if printer.for_programs:
        document = {
            "datum": task.id,
            "state": result.state,
            "reason": result.reason,
            "exit_code": result.exit_code,
            "process_seconds": result.process_seconds,
            "download_bytes": result.download_bytes,
            "outputs": outputs,
        }
        printer.only_documents(document)
    elif outputs:
        printer.many(outputs, COLUMNS)
    if done.warning is not None:
        click.echo(f"note: {done.warning}", err=True)
    if result.state is ResultState.FAILED:
        click.echo(f"error: {result.reason}", err=True)
    else:
        recovered = f"; recovered from: {result.reason}" if result.state is ResultState.RECOVERED else ""
        click.echo(f"datum {task.id[:12]}: {result.state.value} in {result.process_seconds:.3f} s{recovered}", err=True)


def _status(done: OneResult) -> int:
    """That of the command; 1 when it failed for another reason, and what a shell says of a signal."""
    code = done.result.exit_code
    if done.result.state is not ResultState.FAILED:
        return 0
    return 1 if not code else code if code > 0 else 128 - code
