"""Forks a pod for each order, from a process that is kept small (see `pod_host`): what is imported here, each pod takes along and gives back."""

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Sequence

from pachyderm_dagster.argo.bound_ports import answer_call
from pachyderm_dagster.argo.pod_orders import READY, Answer, Order, order_of
from pachyderm_dagster.argo.pod_root import Shared, become
from pachyderm_dagster.kernel import find_text
from pachyderm_dagster.worker import linux

_READ_BYTES = 1 << 16


def main(lock: str, prefixes: Sequence[str]) -> None:
    """Runs pods until there are no more orders; `lock` is the descriptor that is kept till then, or nothing."""
    if lock:
        # What pods run does not get it.
        os.set_inheritable(int(lock), False)
    # Python ignores them, and its pods would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    host = _Host(Shared(prefixes))
    _say(Answer(READY))
    # What it has is kept to its end; a collection would copy, in every pod, the memory that they share.
    gc.freeze()
    gc.disable()
    host.run()


def _say(answer: Answer) -> None:
    os.write(1, answer.line())


class _Running:
    """A pod that runs: what it is about to say of its start, and what it prints where that is copied."""

    def __init__(self, id: int, grace: float, output: int = -1, files: Sequence[int] = ()) -> None:
        self.id, self.grace, self.output, self.files = id, grace, output, files
        self.problem = -1
        self.kill_at: float | None = None
        self.said = b""


class _Host:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._running: dict[int, _Running] = {}
        self._pids: dict[int, int] = {}
        self._outputs: dict[int, _Running] = {}
        self._starting: dict[int, int] = {}
        self._ports: dict[int, dict[int, int]] = {}
        self._orders = b""
        self._own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(0, select.POLLIN)

    def run(self) -> None:
        """Obeys until nobody gives orders any more."""
        while True:
            found = dict(self._poll.poll(self._milliseconds()))
            for descriptor, events in found.items():
                if descriptor in self._outputs:
                    self._copy(self._outputs[descriptor])
                if descriptor in self._starting:
                    self._hear_start(descriptor)
                if descriptor in self._ports:
                    self._see_to_ports(descriptor, events)
                if descriptor == self._woken:
                    os.read(self._woken, _READ_BYTES)
                    self._reap()
            self._kill_late()
            # Last: a pod that starts gets numbers of descriptors that were closed just now, and what was found of those is not about its own.
            if 0 in found and not self._read_orders():
                return

    def _milliseconds(self) -> int | None:
        times = [one.kill_at for one in self._running.values() if one.kill_at is not None]
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    def _read_orders(self) -> bool:
        data = os.read(0, _READ_BYTES)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            order = order_of(line)
            if order.argv:
                self._start(order)
            else:
                self._end(order.id)
        return bool(data)

    def _start(self, order: Order) -> None:
        try:
            running, log, output = self._opened(order)
        except OSError as error:
            _say(Answer(order.id, problem=f"{error.filename or order.root}: {error.strerror}"))
            return
        problem_reader, problem = os.pipe()
        here, there = socket.socketpair() if order.ports else (None, None)
        try:
            linux.unshare(linux.CLONE_NEWPID)
            pid = os.fork()
        except OSError as error:
            pid = -1
            _say(Answer(order.id, problem=f"no process could be started: {error.strerror}"))
        if pid == 0:
            become(order, self._shared, log, output, problem, there)
        # Without this the host could start no other pod: a process that entered a namespace starts its children in that one only.
        linux.enter_namespace(self._own_processes, linux.CLONE_NEWPID)
        for descriptor in {log, output, problem}:
            os.close(descriptor)
        if here is not None and there is not None:
            there.close()
            self._take_listener(here, order)
        running.problem = problem_reader
        if pid < 0:
            os.close(problem_reader)
            return
        os.set_blocking(problem_reader, False)
        self._running[pid] = running
        self._pids[order.id] = pid
        if order.tells_start:
            # What is said of a start ends when the program takes over.
            self._starting[problem_reader] = order.id
            self._poll.register(problem_reader, select.POLLIN)
        if running.output >= 0:
            self._outputs[running.output] = running
            self._poll.register(running.output, select.POLLIN)

    def _opened(self, order: Order) -> tuple[_Running, int, int]:
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if not order.result:
            return _Running(order.id, order.grace), log, log
        files = [os.dup(log), os.open(order.result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)]
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        return _Running(order.id, order.grace, reader, files), log, writer

    # --- ports

    def _take_listener(self, here: socket.socket, order: Order) -> None:
        """Takes over what gets the stopped calls of a pod that has ports."""
        with here:
            found = socket.recv_fds(here, 1, 1)[1]
        for listener in found:
            self._ports[listener] = dict(order.ports)
            self._poll.register(listener, select.POLLIN)

    def _see_to_ports(self, listener: int, events: int) -> None:
        if events & select.POLLIN:
            answer_call(listener, self._ports[listener])
            return
        # Nobody is left whose calls are stopped.
        self._poll.unregister(listener)
        del self._ports[listener]
        os.close(listener)

    # --- starts and ends

    def _hear_start(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        id = self._starting.pop(descriptor)
        try:
            said = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            self._starting[descriptor] = id
            self._poll.register(descriptor, select.POLLIN)
            return
        if said:
            self._running[self._pids[id]].said = said
        else:
            _say(Answer(id, started=True))

    def _end(self, id: int) -> None:
        pid = self._pids.get(id)
        if pid is None:
            return
        # The first process of a namespace gets no signal that it has no handler for, but this one.
        number = signal.SIGTERM if _handles_sigterm(pid) else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        self._running[pid].kill_at = time.monotonic() + self._running[pid].grace

    def _kill_late(self) -> None:
        for pid, running in self._running.items():
            if running.kill_at is not None and time.monotonic() >= running.kill_at:
                running.kill_at = None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                running = self._running.pop(found[0], None)
                if running is not None:
                    self._finish(running, os.waitstatus_to_exitcode(found[1]))

    def _finish(self, running: _Running, code: int) -> None:
        while running.output >= 0:
            self._copy(running, at_end=True)
        del self._pids[running.id]
        if self._starting.pop(running.problem, None) is not None:
            self._poll.unregister(running.problem)
        with open(running.problem, "rb") as report:
            problem = (running.said + (report.read() or b"")).decode()
        _say(Answer(running.id, 128 - code if code < 0 else code, problem))

    def _copy(self, running: _Running, *, at_end: bool = False) -> None:
        try:
            data = os.read(running.output, _READ_BYTES)
        except BlockingIOError:
            # What was to be read may have been that of another pod, whose number for it this one got in the meantime.
            if not at_end:
                return
            # Every process of the pod is gone, so that nothing more comes.
            data = b""
        if data:
            for file in running.files:
                _write_all(file, data)
            return
        self._poll.unregister(running.output)
        del self._outputs[running.output]
        for descriptor in (running.output, *running.files):
            os.close(descriptor)
        running.output = -1


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _handles_sigterm(pid: int) -> bool:
    status = find_text(f"/proc/{pid}/status") or ""
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
