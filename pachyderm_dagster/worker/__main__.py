"""The worker process: `python -m pachyderm_dagster.worker`, started by an executor, talking `protocol` over its standard input and output."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO, NoReturn

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.batching import local_calls
from pachyderm_dagster.worker.datums import DatumRunner
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.live import listener_of
from pachyderm_dagster.worker.preparing import find_source, prepare
from pachyderm_dagster.worker.protocol import Answer, DatumTask, WorkerReady, WorkerRefused, encode, read_setup, read_task
from pachyderm_dagster.worker.run import Runner, end_worker, outlive_signals
from pachyderm_dagster.worker.sandbox import FIRST_PROCESS
from pachyderm_dagster.worker.serving import Files, serve

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CRASHED = 70
_PIPE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Executor:
    """The executor at the other ends of the pipes."""

    tasks: BinaryIO
    answers: int

    def next_task(self) -> DatumTask | None:
        return read_task(self.tasks)

    def answer(self, results: Sequence[Answer]) -> None:
        view = memoryview(b"".join(encode(result) for result in results))
        try:
            while view:
                view = view[os.write(self.answers, view) :]
        except BrokenPipeError:
            # Nobody waits for answers any more.
            end_worker()

    def refuse(self, error: PachydermError) -> NoReturn:
        """The guard of this process ends the user code that may run."""
        self.answer([WorkerRefused.of(error)])
        os._exit(os.EX_UNAVAILABLE)


def main() -> None:
    """Serves one executor until it closes the pipe."""
    stream = os.fdopen(_STDIN, "rb", buffering=_PIPE_BYTES, closefd=False)
    setup = read_setup(stream)
    if setup is None:
        return
    prepared = prepare(setup, os.environ)
    setup, sandbox = prepared.setup, prepared.sandbox
    # User code and stray prints must not be able to write into the answers.
    executor = _Executor(stream, os.dup(_STDOUT))
    os.dup2(_STDERR, _STDOUT)
    _arrange_ends()
    try:
        store = open_store(setup.store_url)
        reader = ContentReader(store)
        source, obstacle = find_source(prepared, reader)
    except PachydermError as error:
        executor.refuse(error)
    executor.answer([WorkerReady(sandbox.root, sandbox.problem)])
    pool = FolderPool(os.path.join(os.path.dirname(sandbox.folder), "datums"))
    datums = DatumRunner(
        setup,
        sandbox,
        Runner(_STDIN, grace=setup.grace),
        reader,
        user=prepared.user,
        source=source,
        obstacle=obstacle,
        calls=local_calls(setup, sandbox),
        listener=lambda task, started: listener_of(setup, task, started),
    )
    serve(executor, datums, Files(reader, ContentWriter(store), pool, sandbox.root, prepared.user, is_bounded=setup.memory_volume))


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


def _end(number: int, frame: FrameType | None) -> None:
    end_worker()


def _crash(error: BaseException | None) -> NoReturn:
    """Ends all threads when one fails, or the others would wait for it for ever; the executor sees the process end, and its last words."""
    traceback.print_exception(error)
    os._exit(_CRASHED)


if __name__ == "__main__":
    main()
