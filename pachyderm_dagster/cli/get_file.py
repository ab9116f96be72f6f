"""`get file`."""

import contextlib
import gzip
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

import click
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.cli.archive import write_archive
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.progress import Progress
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs import reading
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.path_columns import paths_of
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.system_errors import storage_errors
from pachyderm_dagster.workspace import open_workspace

FILES_AT_ONCE = 50_000
ARCHIVES = (".tar", ".tar.gz", ".tgz")


def _target(_context: click.Context, _option: click.Parameter, given: str | None) -> Path | None:
    if given is not None and re.match("[A-Za-z][A-Za-z0-9+.-]*://", given):
        # As a path it would be a folder `s3:`.
        raise InvalidError("target-invalid", f"-o takes a path of this machine; {given} is a URL: leave -o out and pipe the output into what writes there")
    return None if given in (None, "-") else Path(given)


@click.command(epilog="Example: pachctl get file images@master:/liberty.png -o liberty.png")
@click.argument("file", metavar="REPO@REF:PATH")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(),
    callback=_target,
    help="Where it goes, standard output (also -) unless given: a file; with -r a folder, or a tar archive when it ends in .tar, .tar.gz or .tgz.",
)
@click.option("-r", "--recursive", is_flag=True, help="A directory, or all that a pattern matches, under its paths in the repo.")
@click.option("--offset-bytes", "--offset", "offset", type=click.IntRange(min=0), default=0, metavar="N", help="Leave out the first N bytes.")
@click.option("--progress/--no-progress", default=True, help="Show how far it is.")
@click.option("--retry", is_flag=True, help="Go on with what the file that -o names has of it already.")
@in_project
@click.pass_obj
def get_file(environ: Mapping[str, str], file: str, target: Path | None, recursive: bool, offset: int, progress: bool, retry: bool, project: str) -> None:
    """A pattern may name the file when it matches only one."""
    if recursive and (offset or retry):
        raise click.UsageError("--offset and --retry are for one file, -r for many", click.get_current_context())
    if retry and (offset or target is None):
        raise click.UsageError("--retry goes on with a file: it takes -o FILE, and no --offset", click.get_current_context())
    if recursive and target is None and sys.stdout.isatty():
        raise click.UsageError("-r writes a tar archive, and standard output is a terminal; use -o FOLDER", click.get_current_context())
    with closing(open_workspace(environ, project=project)) as workspace:
        pfs = workspace.pfs
        path = pfs.parse(file).path
        if path is None:
            raise InvalidError("path-missing", f"'{file}' has no path; write {file if '@' in file else f'{file}@master'}:/path")
        if not recursive:
            _get_one(pfs, file, path, target, offset, progress=progress, retry=retry)
            return
        rows = pfs.files(file).rows_below(path)
        if target is None:
            _get_archive(pfs, file, rows, sys.stdout.buffer, progress=progress)
        elif target.name.endswith(ARCHIVES) and not target.is_dir():
            with storage_errors("write", str(target)), _opened(target) as out, _packing(out, target) as packed:
                _get_archive(pfs, file, rows, packed, progress=progress)
        else:
            _get_folder(pfs, rows, target, progress=progress)


def _get_one(pfs: Pfs, file: str, path: str, target: Path | None, offset: int, *, progress: bool, retry: bool) -> None:
    files = pfs.files(file)
    content = files.find_content(path)
    if target is None:
        for piece in pfs.reader.stream(content, offset):
            sys.stdout.buffer.write(piece)
        return
    if target.is_dir():
        found = files.glob(path).column("path")[0].as_py() if reading.is_glob(path) else path
        target /= found.rpartition("/")[2]
    if retry and target.is_file():
        offset = target.stat().st_size
        if offset > content.size:
            raise InvalidError("target-longer", f"{target} has {offset:,} bytes, the file only {content.size:,}; it is another one, write to a new name")
        opened: contextlib.AbstractContextManager[BinaryIO] = target.open("ab")
    else:
        opened = _opened(target)
    with _shown(progress, content.size - offset) as done, storage_errors("write", str(target)), opened as out:
        for piece in pfs.reader.stream(content, offset):
            out.write(piece)
            done(len(piece))


def _packing(out: BinaryIO, target: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    if target.suffix == ".tar":
        return contextlib.nullcontext(out)
    # The time of packing would make two archives of the same files differ.
    return cast("contextlib.AbstractContextManager[BinaryIO]", gzip.GzipFile("", "wb", fileobj=out, mtime=0))


def _get_archive(pfs: Pfs, file: str, rows: pa.Table, out: BinaryIO, *, progress: bool) -> None:
    with _shown(progress, pc.sum(rows.column("size")).as_py() or 0) as done:
        write_archive(pfs.reader, rows, out, time=pfs.inspect_commit(file).started, done=done)


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[BinaryIO]:
    """A file to write `target` through. One that was there stays as it was until the block has ended well, and keeps its mode."""
    target = target.resolve()
    if target.exists() and not target.is_file():
        # A device or a pipe is written to; a file must never take its place.
        with target.open("wb") as out:
            yield out
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as out:
            yield out
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _get_folder(pfs: Pfs, rows: pa.Table, target: Path, *, progress: bool) -> None:
    with storage_errors("make", str(target)):
        target.mkdir(parents=True, exist_ok=True)
    paths = paths_of(rows.column("key").combine_chunks())
    with _shown(progress, sum(rows.column("size").to_pylist())) as done:
        for at in range(0, len(rows), FILES_AT_ONCE):
            some = rows.slice(at, FILES_AT_ONCE)
            export_files(pfs.store, some, [f"{target}{path}" for path in paths.slice(at, FILES_AT_ONCE).to_pylist()])
            done(sum(some.column("size").to_pylist()))


@contextlib.contextmanager
def _shown(progress: bool, total: int) -> Iterator[Callable[[int], None]]:
    """What to tell how many more bytes are done."""
    if not progress:
        yield lambda _: None
        return
    with Progress("get file", total) as shown:
        yield shown.advance
