"""Takes one datum after another from somewhere and answers each: three threads, each a step ahead of the next. One stages files, the main thread runs user
code, one stores what came out and answers.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.full_disks import disk_full, has_room, is_tight
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask
from pachyderm_dagster.worker.publish import FinishedDatum, Publisher
from pachyderm_dagster.worker.stage import StagedDatum, stage
from pachyderm_dagster.worker.users import User

# One datum waits staged while one runs; a few may wait to be stored, so that a slow disk does not hold up user code.
_STAGED_AHEAD = 1
_FINISHED_BEHIND = 8
_LOOK_SECONDS = 0.01


class Orders(Protocol):
    """Where datums come from, and where their results go."""

    def next_task(self) -> DatumTask | None:
        """Waits for the next datum; None after the last one."""
        ...

    def answer(self, results: Sequence[DatumResult]) -> None:
        """Takes results that are durable."""
        ...

    def refuse(self, error: PachydermError) -> NoReturn:
        """Says what keeps this worker from going on, and ends it. From any thread."""
        ...


class Datums(Protocol):
    """Runs datums, as `DatumRunner` does."""

    def run(self, staged: StagedDatum) -> FinishedDatum:
        """As `DatumRunner.run`."""
        ...

    def close(self) -> None:
        """As `DatumRunner.close`."""
        ...


@dataclass(slots=True)
class _Progress:
    """How many tasks were taken and answered; each number is written by one thread."""

    taken: int = 0
    answered: int = 0

    def is_last(self, count: int) -> bool:
        return self.taken - self.answered == count


@dataclass(slots=True)
class _Behind:
    """The folders of datums that ran, until they are read and emptied. How many there were, and how many are, is written by one thread each."""

    pool: FolderPool
    finished: int = 0
    returned: int = 0

    @property
    def is_any(self) -> bool:
        return self.finished > self.returned

    def give_back(self, folder: str) -> None:
        self.pool.give_back(folder)
        self.returned += 1


@dataclass(frozen=True, slots=True)
class Files:
    """How files come and go.

    Attributes:
        reader, writer: of the store.
        pool: of the folders that are staged.
        pfs_root: the folder that user code sees.
        user: as whom user code runs; None for the worker's own.
        links_elsewhere: whether links that user code left mean something else where it ran.
        is_bounded: whether the disk of the folders has nothing but files of datums, so that one whose files do not fit is to blame for that.
    """

    reader: ContentReader
    writer: ContentWriter
    pool: FolderPool
    pfs_root: str
    user: User | None = None
    links_elsewhere: bool = False
    is_bounded: bool = False


def serve(orders: Orders, datums: Datums, files: Files) -> None:
    """Runs datums until there is no more. When it returns all are answered, and all that ran to their end when it raises what `datums` raised."""
    progress = _Progress()
    staged: queue.Queue[StagedDatum | None] = queue.Queue(_STAGED_AHEAD)
    finished: queue.Queue[FinishedDatum | PachydermError | None] = queue.Queue(_FINISHED_BEHIND)

    def answer(results: Sequence[DatumResult]) -> None:
        orders.answer(results)
        progress.answered += len(results)

    behind = _Behind(files.pool)
    publisher = Publisher(files.writer, behind, files.pfs_root, answer, progress.is_last, files.user, links_elsewhere=files.links_elsewhere)

    def store_results() -> None:
        try:
            publisher.serve(finished)
        except PachydermError as error:
            orders.refuse(error)

    storing = threading.Thread(target=store_results, name="store", daemon=True)
    storing.start()

    def stage_tasks() -> None:
        try:
            while (task := orders.next_task()) is not None:
                progress.taken += 1
                staged.put(_stage(task, files))
        except PachydermError as error:
            orders.refuse(error)
        staged.put(None)

    threading.Thread(target=stage_tasks, name="stage", daemon=True).start()
    error: PachydermError | None = None
    try:
        error = _run_datums(datums, staged, finished, files, behind)
    finally:
        finished.put(error)
        storing.join()


def _stage(task: DatumTask, files: Files) -> StagedDatum:
    """Stages a datum. One that does not fit beside others waits until it is the only one, and fails if it does not fit then."""
    if not files.is_bounded:
        return stage(task, files.pool, files.reader, files.pfs_root)
    # To try would fill the disk, and leave the code of another datum nothing to start with.
    if has_room(files.pool.parent, sum(content.size for file in task.inputs if not (file.lazy or file.empty) for _, content in file.files)):
        datum = stage(task, files.pool, files.reader, files.pfs_root)
        if not _is_full(datum):
            return datum
        datum.lazy.close()
        files.pool.give_back(datum.folder)
    while not files.pool.are_all_back:
        time.sleep(_LOOK_SECONDS)
    datum = stage(task, files.pool, files.reader, files.pfs_root)
    if not _is_full(datum):
        return datum
    problem = disk_full(datum.folder, f"its {datum.size_bytes} bytes do not fit on the disk of its files")
    return dataclasses.replace(datum, problem=problem)


def _is_full(datum: StagedDatum) -> bool:
    return datum.problem is not None and datum.problem.code == "storage-full"


def _run_datums(
    datums: Datums, staged: "queue.Queue[StagedDatum | None]", finished: "queue.Queue[FinishedDatum | PachydermError | None]", files: Files, behind: "_Behind"
) -> PachydermError | None:
    """Runs what was staged until there is no more; the error that ended it before."""
    while (datum := staged.get()) is not None:
        while behind.is_any and files.is_bounded and is_tight(datum.folder):
            # What those before it left is not to take its room.
            time.sleep(_LOOK_SECONDS)
        try:
            done = datums.run(datum)
        except PachydermError as error:
            return error
        behind.finished += 1
        finished.put(done)
    datums.close()
    return None
