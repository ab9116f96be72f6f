"""The worker process: `python -m pachyderm_dagster.worker`, started by an executor, talking `protocol` over its standard input and output.

Three threads, each a step ahead of the next: one reads tasks and stages their files, the main thread runs user code, one stores what came out and answers.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.datums import DatumRunner
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.live import listener_of
from pachyderm_dagster.worker.preparing import find_source, prepare
from pachyderm_dagster.worker.protocol import Answer, WorkerReady, WorkerRefused, encode, read_setup, read_task
from pachyderm_dagster.worker.publish import FinishedDatum, Publisher
from pachyderm_dagster.worker.run import Runner, end_worker, outlive_signals
from pachyderm_dagster.worker.sandbox import FIRST_PROCESS
from pachyderm_dagster.worker.stage import StagedDatum, stage

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CRASHED = 70
_PIPE_BYTES = 1 << 16
# One datum waits staged while one runs; a few may wait to be stored, so that a slow disk does not hold up user code.
_STAGED_AHEAD = 1
_FINISHED_BEHIND = 8


@dataclass(slots=True)
class _Progress:
    """How many tasks were taken and answered; each number is written by one thread."""

    taken: int = 0
    answered: int = 0

    def is_last(self, count: int) -> bool:
        return self.taken - self.answered == count


def main() -> None:
    """Serves one executor until it closes the pipe."""
    stream = os.fdopen(_STDIN, "rb", buffering=_PIPE_BYTES, closefd=False)
    setup = read_setup(stream)
    if setup is None:
        return
    prepared = prepare(setup, os.environ)
    setup, sandbox = prepared.setup, prepared.sandbox
    # User code and stray prints must not be able to write into the answers.
    answers = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    _arrange_ends()
    try:
        store = open_store(setup.store_url)
        reader = ContentReader(store)
        source, obstacle = find_source(prepared, reader)
    except PachydermError as error:
        _refuse(answers, error)
    _send(answers, [WorkerReady(sandbox.root, sandbox.problem)])
    progress = _Progress()
    staged: queue.Queue[StagedDatum | None] = queue.Queue(_STAGED_AHEAD)
    finished: queue.Queue[FinishedDatum | PachydermError | None] = queue.Queue(_FINISHED_BEHIND)

    def answer(results: Sequence[Answer]) -> None:
        _send(answers, results)
        progress.answered += len(results)

    pool = FolderPool(os.path.join(os.path.dirname(sandbox.folder), "datums"))
    publisher = Publisher(ContentWriter(store), pool, sandbox.root, answer, progress.is_last, prepared.user)

    def store_results() -> None:
        try:
            publisher.serve(finished)
        except PachydermError as error:
            _refuse(answers, error)

    storing = threading.Thread(target=store_results, name="store", daemon=True)
    storing.start()

    def stage_tasks() -> None:
        while (task := read_task(stream)) is not None:
            progress.taken += 1
            staged.put(stage(task, pool, reader, sandbox.root))
        staged.put(None)

    threading.Thread(target=stage_tasks, name="stage", daemon=True).start()
    datums = DatumRunner(
        setup,
        sandbox,
        Runner(_STDIN, grace=setup.grace),
        reader,
        user=prepared.user,
        source=source,
        obstacle=obstacle,
        listener=lambda task, started: listener_of(setup, task, started),
    )
    finished.put(_run_datums(datums, staged, finished))
    storing.join()


def _arrange_ends() -> None:
    """Says who may end this process, and that a thread which fails ends all of it."""
    if os.getpid() == FIRST_PROCESS:
        # Its guard ends it, and nobody inside.
        outlive_signals()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end)
    sys.excepthook = lambda _kind, error, _trace: _crash(error)
    threading.excepthook = lambda details: _crash(details.exc_value)


def _run_datums(
    datums: DatumRunner, staged: "queue.Queue[StagedDatum | None]", finished: "queue.Queue[FinishedDatum | PachydermError | None]"
) -> PachydermError | None:
    """Runs what was staged until there is no more; the error that ended it before."""
    while (datum := staged.get()) is not None:
        try:
            finished.put(datums.run(datum))
        except PachydermError as error:
            return error
    datums.close()
    return None


def _send(descriptor: int, answers: Sequence[Answer]) -> None:
    view = memoryview(b"".join(encode(answer) for answer in answers))
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        # Nobody waits for answers any more.
        end_worker()


def _refuse(answers: int, error: PachydermError) -> NoReturn:
    """Says what keeps this worker from going on and ends it; its guard ends the user code that may run."""
    _send(answers, [WorkerRefused.of(error)])
    os._exit(os.EX_UNAVAILABLE)


def _end(number: int, frame: FrameType | None) -> None:
    end_worker()


def _crash(error: BaseException | None) -> NoReturn:
    """Ends all threads when one fails, or the others would wait for it for ever; the executor sees the process end, and its last words."""
    traceback.print_exception(error)
    os._exit(_CRASHED)


if __name__ == "__main__":
    main()
