"""Brings the output of a job to where the pipeline's egress says."""

import threading
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ConflictError, PachydermError, UnreachableError
from pachyderm_dagster.executors.watch import Watch
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.streams import Pieces, as_file
from pachyderm_dagster.pfs.uploading import Upload, upload
from pachyderm_dagster.pps.egress import Egress, ObjectStorage, SqlDatabase, folder_url
from pachyderm_dagster.pps.model import EgressResult
from pachyderm_dagster.sql.databases import open_database
from pachyderm_dagster.sql.loading import TableFile, load
from pachyderm_dagster.sql.row_files import Layout
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.rows import FILE_ROWS, contents_of
from pachyderm_dagster.storage.tree_reading import decode_root
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.workspace import Workspace

FIRST_PAUSE_SECONDS = 2.0
MAX_PAUSE_SECONDS = 60.0
_LOOK_SECONDS = 1.0

Passwords = Callable[[SqlDatabase], str | None]
"""The password for a database."""


class EgressStopped(Exception):
    """Somebody asked for the end of it."""


class EgressRun(typing.NamedTuple):
    """What is brought where.

    Attributes:
        output: encoded root of the files.
        scratch: a folder for what has to be on disk for a while.
        first_pause: seconds before the second try; twice as many before each further one, up to a minute.
    """

    egress: Egress
    trees: Trees
    reader: ContentReader
    output: bytes | None
    passwords: Passwords
    scratch: Path
    clock: Clock
    first_pause: float = FIRST_PAUSE_SECONDS


def egress_run(workspace: Workspace, egress: Egress, output: bytes | None) -> EgressRun:
    """The egress of an output of this workspace."""

    def password(database: SqlDatabase) -> str | None:
        secret = database.secret
        return workspace.settings.sql_password if secret is None else workspace.secrets.text(secret.name, secret.key)

    scratch = workspace.settings.home / "scratch"
    return EgressRun(egress, workspace.pfs.trees, workspace.pfs.reader, output, password, scratch, workspace.database.clock)


def run_egress(run: EgressRun, stopped: threading.Event) -> EgressResult:
    """Brings everything there; what does not answer, or is in use by others, is tried again as often as the egress allows.

    It may be done any number of times, with one result: objects are written over, tables emptied and filled.

    Args:
        stopped: ends it when it is set.

    Raises:
        EgressStopped: it was set. A table is as it was then; some objects may have been written.
        PachydermError: as `uploading.upload` and `loading.load`, from the last try.
    """
    tries, pause = run.egress.tries, run.first_pause
    for number in range(1, tries):
        try:
            return _try(run, number, stopped)
        except (ConflictError, UnreachableError):
            stopped.wait(min(pause * 2 ** (number - 1), MAX_PAUSE_SECONDS))
    return _try(run, tries, stopped)


def run_egress_watched(run: EgressRun, check: Callable[[], None]) -> EgressResult | PachydermError:
    """As `run_egress`, with `check` called beside it, about once a second; what that raises ends it and is raised. An error of the last try is returned."""
    stopped = threading.Event()
    with Watch(check, stopped.set, _LOOK_SECONDS):
        try:
            return run_egress(run, stopped)
        except PachydermError as error:
            return error


def _try(run: EgressRun, number: int, stopped: threading.Event) -> EgressResult:
    def check() -> None:
        if stopped.is_set():
            raise EgressStopped

    check()
    match run.egress:
        case Egress(object_storage=ObjectStorage(url=url)):
            done = upload(folder_url(url), (_upload(run.reader, path, content) for path, content in _files(run)), check)
            return EgressResult(files=done.files, bytes=done.bytes, tries=number, finished=run.clock.now())
        case Egress(sql_database=SqlDatabase() as database):
            return _load(run, database, number, check)
        case _:
            raise AssertionError("an egress names one of the two")


def _load(run: EgressRun, database: SqlDatabase, number: int, check: Callable[[], None]) -> EgressResult:
    size = 0

    def files() -> Iterator[TableFile]:
        nonlocal size
        for path, content in _files(run):
            size += content.size
            yield TableFile(path, path.split("/")[1], lambda content=content: as_file(Pieces(run.reader.stream(content))))  # type: ignore[misc]

    run.scratch.mkdir(parents=True, exist_ok=True)
    layout = Layout(database.file_format.type, database.file_format.columns, run.scratch)
    engine = open_database(database.url, run.passwords(database))
    try:
        loaded = load(engine, files(), layout, check)
    finally:
        engine.dispose()
    return EgressResult(files=loaded.files, bytes=size, tries=number, finished=run.clock.now(), rows=loaded.rows)


def _files(run: EgressRun) -> Iterator[tuple[str, Content]]:
    """The output's files by path, in their order."""
    for rows in run.trees.read(decode_root(FILE_ROWS, run.output)):
        yield from zip(map(path_of, rows.column("key").to_pylist()), contents_of(rows), strict=True)


def _upload(reader: ContentReader, path: str, content: Content) -> Upload:
    return Upload(path.lstrip("/"), content.size, lambda: reader.stream(content))
