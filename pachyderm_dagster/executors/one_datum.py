"""Runs one datum here and now, for somebody who watches; nothing goes to the store."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

import pachyderm_dagster
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.run_folder import RunFolder
from pachyderm_dagster.worker.one import RESULT, TASK, OneResult, OneSetup
from pachyderm_dagster.worker.protocol import DatumTask, WorkerSetup

_STDIN, _STDERR = 0, 2


@contextlib.contextmanager
def run_one(setup: WorkerSetup, task: DatumTask, environment: Mapping[str, str]) -> Iterator[OneResult]:
    """Runs a datum as a worker does; what it printed is on standard error, and its output is on disk for the time of the block.

    Args:
        environment: of the machine, as user code is to see it below what `setup` says.

    Raises:
        ExecutionError: `worker-not-started`, when the worker ended without a result.
    """
    with RunFolder(os.path.realpath(setup.scratch)) as runs:
        folder = runs.add("one")
        setup = msgspec.structs.replace(setup, scratch=folder, environment={**environment, **setup.environment})
        Path(folder, TASK).write_bytes(msgspec.msgpack.encode(OneSetup(setup=setup, task=task)))
        code = _run(folder, environment, terminal=setup.terminal)
        result = Path(folder, RESULT)
        if not result.exists():
            raise ExecutionError("worker-not-started", f"the worker ended with exit code {code} and left no result; what it printed says why")
        yield msgspec.msgpack.decode(result.read_bytes(), type=OneResult)


def _run(folder: str, environment: Mapping[str, str], *, terminal: bool) -> int:
    package_folder = str(Path(pachyderm_dagster.__file__).parents[1])
    search_path = os.pathsep.join([package_folder, *filter(None, [environment.get("PYTHONPATH")])])
    held, lifeline = os.pipe()
    # What is typed at a terminal is for the command, Ctrl-C too.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if terminal else signal.getsignal(signal.SIGINT)
    process = None
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pachyderm_dagster.worker.one", folder, str(held)],
            cwd="/",
            env={**environment, "PYTHONPATH": search_path},
            stdout=None if terminal else _STDERR,
            pass_fds=[held],
        )
        os.close(held)
        return process.wait()
    finally:
        os.close(lifeline)
        if process is not None:
            process.wait()
        if terminal:
            _take_terminal_back()
        signal.signal(signal.SIGINT, before)


def _take_terminal_back() -> None:
    """The worker gave it to its own group, and is gone."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(_STDIN, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)
