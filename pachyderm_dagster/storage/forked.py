"""Work on parts of a list in forked children, for the loops of system calls and hashes that threads cannot speed up.

A forked child has one thread, whatever the parent had: it must not touch what keeps threads or locks of its own (pyarrow, obstore, SQL, loggers).
It collects no garbage either, which could finalise such an object.
"""

import contextlib
import gc
import itertools
import os
import pickle
import signal
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.prctl import end_with_parent

_MAX_PROCESSES = 8
_LENGTH = struct.Struct("<?Q")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Worker:
    pid: int
    answers: int


def split_parts(items: Sequence[T], at_least: int) -> list[Sequence[T]]:
    """`items` in neighbouring parts of about equal length, one a processor that is ours, each of `at_least` items if there are as many."""
    count = max(1, min(len(os.sched_getaffinity(0)), _MAX_PROCESSES, len(items) // at_least))
    ends = [len(items) * number // count for number in range(count + 1)]
    return [items[start:end] for start, end in itertools.pairwise(ends)]


def run_forked(work: Callable[[Sequence[T]], bytes], parts: Sequence[Sequence[T]]) -> list[bytes]:
    """What `work` returns for each of the parts; all but the first run in children, at the same time.

    Raises:
        Exception: the one that `work` raised, there or here.
        ExecutionError: `process-died`, when a child was killed.
    """
    workers: list[_Worker] = []
    try:
        for part in parts[1:]:
            workers.append(_fork(work, part))
        return [*map(work, parts[:1]), *(_receive(worker) for worker in workers)]
    finally:
        for worker in workers:
            _end(worker)


def _fork(work: Callable[[Sequence[T]], bytes], part: Sequence[T]) -> _Worker:
    answers, to_parent = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forking beside threads; the module's docstring says what the child keeps from.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _run_child(work, part, to_parent, parent)
    os.close(to_parent)
    return _Worker(pid, answers)


def _run_child(work: Callable[[Sequence[T]], bytes], part: Sequence[T], to_parent: int, parent: int) -> None:
    """Answers and ends the process, at the latest with its parent; never returns."""
    status = 1
    try:
        end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            return  # it was killed before
        gc.disable()
        try:
            failed, answer = False, work(part)
        except Exception as error:  # noqa: BLE001 -- raised again by the parent
            failed, answer = True, pickle.dumps(error)
        with open(to_parent, "wb") as pipe:
            pipe.write(_LENGTH.pack(failed, len(answer)))
            pipe.write(answer)
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may be closed, flushed or run a second time


def _receive(worker: _Worker) -> bytes:
    with open(worker.answers, "rb", closefd=False) as pipe:
        header = pipe.read(_LENGTH.size)
        failed, length = _LENGTH.unpack(header) if len(header) == _LENGTH.size else (False, 0)
        answer = pipe.read(length)
    if len(header) != _LENGTH.size or len(answer) != length:
        raise ExecutionError("process-died", f"process {worker.pid} that read or wrote files died, perhaps for want of memory; try again")
    if failed:
        raise pickle.loads(answer)
    return answer


def _end(worker: _Worker) -> None:
    os.close(worker.answers)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    os.waitpid(worker.pid, 0)
