"""Threads that start pods: what the kernel has one of them wait for, the others do not wait for."""

import collections
import contextlib
import os
import queue
import socket
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pachyderm_dagster.argo.first_calls import FirstCalls
from pachyderm_dagster.argo.pod_orders import Order
from pachyderm_dagster.argo.pod_root import Shared, start, try_out
from pachyderm_dagster.worker import linux

_THREADS = 4


class Output(NamedTuple):
    """What a pod prints where that is copied: where it is read, and the files that it goes to."""

    reader: int = -1
    files: Sequence[int] = ()


class Begun(NamedTuple):
    """An order that was carried out.

    Attributes:
        pid: of the pod's first process; -1 where there is none.
        problem: why its program does not run, or is not to run; empty when it does.
        host: gets its stopped calls, if it has ports.
    """

    order: Order
    output: Output
    pid: int
    problem: str
    host: socket.socket | None = None


class PodStarts:
    """Starts pods.

    Args:
        wake: a pipe that is written to when one was started.

    Raises:
        OSError: there can be no pods.
    """

    def __init__(self, shared: Shared, wake: int) -> None:
        self._shared, self._wake = shared, wake
        self._own_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._begun: collections.deque[Begun] = collections.deque()
        every = [FirstCalls() for _ in range(_THREADS)]
        try_out(shared, every[0])
        self._leave_root()
        for first_calls in every:
            threading.Thread(target=self._run, args=(first_calls,), daemon=True).start()

    def put(self, order: Order) -> None:
        """Has a pod started."""
        self._waiting.put(order)

    def begun(self) -> Iterator[Begun]:
        """Those that were started since this was last asked."""
        while self._begun:
            yield self._begun.popleft()

    def _run(self, first_calls: FirstCalls) -> None:
        try:
            # Its root and its working folder are its own from now on, as its mounts will be.
            linux.unshare(linux.CLONE_FS)
            while True:
                self._begun.append(self._start(self._waiting.get(), first_calls))
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake, b"+")
        except BaseException:  # noqa: BLE001  nobody would hear of its pods any more
            traceback.print_exc()
            os._exit(1)

    def _start(self, order: Order, first_calls: FirstCalls) -> Begun:
        try:
            output, log, written = _opened(order)
        except OSError as error:
            return Begun(order, Output(), -1, f"{error.filename or order.root}: {error.strerror}")
        here, there = socket.socketpair() if order.ports else (None, None)
        try:
            pid, problem = start(order, self._shared, first_calls, log, written, there)
        except (OSError, ValueError) as error:
            pid, problem = -1, _told(order, error)
        finally:
            self._leave_root()
        for descriptor in {log, written}:
            os.close(descriptor)
        if there is not None:
            there.close()
        return Begun(order, output, pid, problem, here)

    def _leave_root(self) -> None:
        """Takes this thread from the root of a pod to that of the host."""
        linux.enter_namespace(self._own_mounts, linux.CLONE_NEWNS)


def _opened(order: Order) -> tuple[Output, int, int]:
    """What a pod prints, and the descriptors that it gets: of its log, and of its standard output."""
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if not order.result:
        return Output(), log, log
    files = [os.dup(log), os.open(order.result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)]
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return Output(reader, files), log, writer


def _told(order: Order, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return f"{order.argv[0]}: {error}"
    return f"{error.filename or order.argv[0]}: {error.strerror}"
