"""Runs one datum where somebody watches, and ends: `python -m pachyderm_dagster.worker.one FOLDER DESCRIPTOR`.

FOLDER/task holds a `WorkerSetup` and a `DatumTask`; FOLDER/result gets an `OneResult`. What user code prints comes from this process's standard error; with
`WorkerSetup.terminal` the command has the standard streams themselves. DESCRIPTOR is a pipe: when it closes, all ends.
"""

import os
import signal
import sys
from collections.abc import Mapping

import msgspec

from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.batching import local_calls
from pachyderm_dagster.worker.datums import DatumRunner
from pachyderm_dagster.worker.echo import Echo
from pachyderm_dagster.worker.folders import FolderPool
from pachyderm_dagster.worker.preparing import find_source, prepare
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.worker.run import Runner, outlive_signals
from pachyderm_dagster.worker.sandbox import FIRST_PROCESS
from pachyderm_dagster.worker.stage import stage

TASK, RESULT = "task", "result"


class OneSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    setup: WorkerSetup
    task: DatumTask


class OneResult(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; `outputs` are paths in the output repo, and for each the file of this machine or the content that is stored already."""

    result: DatumResult
    outputs: tuple[tuple[str, str | Content], ...]
    warning: str | None


def main(folder: str, parent: int, environment: Mapping[str, str]) -> None:
    """Runs the datum that `folder` describes; `environment` is that of this process."""
    with open(f"{folder}/{TASK}", "rb") as file:
        asked = msgspec.msgpack.decode(file.read(), type=OneSetup)
    os.set_inheritable(parent, False)
    prepared = prepare(asked.setup, environment)
    setup, sandbox = prepared.setup, prepared.sandbox
    if os.getpid() == FIRST_PROCESS:
        outlive_signals()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader = ContentReader(open_store(setup.store_url))
    staged = stage(asked.task, FolderPool(f"{folder}/datums"), reader, sandbox.root)
    source, obstacle = find_source(prepared, reader)
    datums = DatumRunner(
        setup,
        sandbox,
        Runner(parent),
        reader,
        user=prepared.user,
        source=source,
        obstacle=obstacle,
        calls=local_calls(setup, sandbox),
        listener=lambda _task, _started: Echo(),
    )
    done = datums.run(staged)
    datums.close()
    outputs = tuple(
        (file.path, file.source if isinstance(file.source, Content) else done.folder + file.source.removeprefix(sandbox.root)) for file in done.outputs
    )
    with open(f"{folder}/{RESULT}", "wb") as result:
        result.write(msgspec.msgpack.encode(OneResult(result=done.result, outputs=outputs, warning=sandbox.problem)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), os.environ)
