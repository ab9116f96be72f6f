"""Stores what datums made and answers their results, while the next datum runs; many small datums share one write to disk."""

import contextlib
import itertools
import os
import queue
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.storage.content import Content, ContentWriter, PendingContent
from pachyderm_dagster.storage.file_columns import ContentColumns, FileColumns, join_contents, pack_small
from pachyderm_dagster.storage.small_files import in_batches, read_small
from pachyderm_dagster.worker.collect import OutputFile, allow_owner
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.worker.users import User, reaching_files_as

BATCH_SECONDS = 0.1
BATCH_DATUMS = 128
# What was found was no link; one that took its place since may lead to what user code cannot read.
# Nor may a pipe there keep the others waiting.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class FinishedDatum:
    """A datum that ran and whose files still have to be stored.

    Attributes:
        result: all that is known already.
        folder: holds what was in `/pfs`; given back once everything is read.
        outputs: what goes into the output, by its name in `/pfs`; empty after a failure.
        log: what user code printed.
    """

    result: DatumResult
    folder: str
    outputs: Sequence[OutputFile]
    log: bytes


class Folders(Protocol):
    """Where folders go that are read."""

    def give_back(self, folder: str) -> None:
        """As `FolderPool.give_back`."""
        ...


@dataclass(slots=True)
class Publisher:
    """Stores and answers finished datums, in batches of at most `BATCH_DATUMS` or `BATCH_SECONDS`, and at once when no other datum is on its way.

    A result is answered only when everything that it refers to is durable. What user code left in a bad state fails its datum; a store that takes nothing
    is not the datum's fault, and ends `serve`.

    Args:
        writer: used by this object alone.
        pool: gets the folders back.
        pfs_root: what user code saw as `/pfs`.
        answer: takes the results of a batch.
        is_last: whether the worker has no other datum than the so many given.
        user: as whom user code runs; None for the worker's own.
        batch_seconds: how long a result may wait for others.
        links_elsewhere: whether the links in `pfs_root` mean something else where user code ran, so that none may be followed.
    """

    writer: ContentWriter
    pool: Folders
    pfs_root: str
    answer: Callable[[Sequence[DatumResult]], None]
    is_last: Callable[[int], bool]
    user: User | None = None
    batch_seconds: float = BATCH_SECONDS
    links_elsewhere: bool = False
    _batch: list[DatumResult] = field(default_factory=list)
    _folders: list[str] = field(default_factory=list)
    _due: float = 0.0

    def serve(self, finished: "queue.Queue[FinishedDatum | PachydermError | None]") -> None:
        """Takes datums from the queue until it gives None.

        Raises:
            StorageError, UnreachableError: nothing can be stored; the datums without an answer get none.
            PachydermError: the one that the queue gave, once the datums before it are answered.
        """
        while True:
            try:
                datum = finished.get(timeout=max(0.0, self._due - time.monotonic()) if self._batch else None)
            except queue.Empty:
                self._flush()
                continue
            if datum is None or isinstance(datum, PachydermError):
                self._flush()
                if datum is None:
                    return
                raise datum
            if not self._batch:
                self._due = time.monotonic() + self.batch_seconds
            self._batch.append(self._store(datum))
            if len(self._batch) >= BATCH_DATUMS or time.monotonic() >= self._due or self.is_last(len(self._batch)):
                self._flush()

    def _store(self, datum: FinishedDatum) -> DatumResult:
        started = time.monotonic()
        result = msgspec.structs.replace(datum.result, log=self.writer.write(datum.log) if datum.log else None)
        try:
            with _folder(datum.folder) as root:
                contents = self._contents_of(datum.outputs, root)
            outputs = FileColumns.named([key_of(file.path) for file in datum.outputs], contents)
            uploaded = sum(size for file, size in zip(datum.outputs, contents.split_sizes(), strict=True) if isinstance(file.source, str))
            result = msgspec.structs.replace(result, outputs=outputs, upload_bytes=uploaded)
        except ExecutionError as error:
            result = _failed(result, error)
        except PachydermError:
            raise  # of the store, and an OSError too
        except OSError as error:
            result = _failed(result, ExecutionError("output-unreadable", f"output file {error.filename} cannot be read: {error.strerror}"))
        self._folders.append(datum.folder)
        return msgspec.structs.replace(result, upload_seconds=result.upload_seconds + time.monotonic() - started)

    def _contents_of(self, outputs: Sequence[OutputFile], root: int) -> ContentColumns:
        """What is in each output; small files that follow one another are stored some at a time."""
        below_root = len(self.pfs_root) + 1
        found = (file.source if isinstance(file.source, Content) else self._read(root, file.source[below_root:]) for file in outputs)
        done: list[ContentColumns] = []
        for batch in in_batches(found):
            for _, run in itertools.groupby(batch, type):
                done.append(self._columns_of(list(run)))
        return join_contents(done)

    def _columns_of(self, run: Sequence[bytes | Content | PendingContent]) -> ContentColumns:
        """Small files, which are stored, or contents that are, or are about to be."""
        small = [one for one in run if isinstance(one, bytes)]
        if small:
            return pack_small(self.writer.packs, small)
        return ContentColumns.of([one.result() if isinstance(one, PendingContent) else one for one in run if not isinstance(one, bytes)])

    def _read(self, root: int, path: str) -> bytes | PendingContent:
        """The bytes of a small file; the content of a larger one, which is all read."""
        descriptor = self._open(root, path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ExecutionError("output-unreadable", f"output file {path} was replaced by what is no file")
            data = read_small(descriptor)
            if data is not None:
                return data
            os.lseek(descriptor, 0, os.SEEK_SET)
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                return self.writer.begin_stream(file)
        finally:
            os.close(descriptor)

    def _open(self, root: int, path: str) -> int:
        if self.links_elsewhere:
            return _open_without_links(root, path)
        if self.user is None:
            return _open(root, path)
        # Code that stays for the next datum may have put a link where a directory was. Not longer than this: a thread of the writer that began meanwhile
        # would keep these rights.
        with reaching_files_as(self.user):
            return _open(root, path)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self.writer.flush()
        if batch:
            self.answer(batch)
        # Nobody waits for them to be emptied.
        folders, self._folders = self._folders, []
        for folder in folders:
            self.pool.give_back(folder)


@contextlib.contextmanager
def _folder(path: str) -> Iterator[int]:
    """A folder to open files in; the kernel need not look up its own path for each."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(root: int, path: str) -> int:
    try:
        return os.open(path, _FLAGS, dir_fd=root)
    except PermissionError:
        allow_owner(path, stat.S_IRUSR, dir_fd=root)
        return os.open(path, _FLAGS, dir_fd=root)


def _open_without_links(root: int, path: str) -> int:
    """Opens a file below a folder; what was found was no link anywhere, and what became one since is an OSError."""
    *folders, name = path.split("/")
    with contextlib.ExitStack() as opened:
        for folder in folders:
            root = os.open(folder, _FOLDER_FLAGS, dir_fd=root)
            opened.callback(os.close, root)
        return _open(root, name)


def _failed(result: DatumResult, error: ExecutionError) -> DatumResult:
    """The result without outputs."""
    return msgspec.structs.replace(result, state=ResultState.FAILED, reason=str(error), outputs=FileColumns(), upload_bytes=0)
