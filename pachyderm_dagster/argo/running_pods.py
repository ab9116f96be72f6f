"""Runs pods as orders come: has each started, tells how it ended, and ends it when that is wanted."""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Sequence

from pachyderm_dagster.argo.bound_ports import answer_call
from pachyderm_dagster.argo.pod_orders import READY, Answer, order_of
from pachyderm_dagster.argo.pod_root import Shared
from pachyderm_dagster.argo.pod_starts import Begun, PodStarts
from pachyderm_dagster.kernel import find_text

_READ_BYTES = 1 << 16


def _say(answer: Answer) -> None:
    os.write(1, answer.line())


class _Running:
    """A pod that runs, and what it prints where that is copied; or why its program does not run."""

    def __init__(self, id: int, grace: float, output: int, files: Sequence[int], problem: str) -> None:
        self.id, self.grace, self.output, self.files, self.problem = id, grace, output, files, problem
        self.kill_at: float | None = None


class RunningPods:
    """The pods of a host.

    Raises:
        OSError: there can be none.
    """

    def __init__(self, shared: Shared) -> None:
        self._running: dict[int, _Running] = {}
        self._pids: dict[int, int] = {}
        self._outputs: dict[int, _Running] = {}
        self._ports: dict[int, dict[int, int]] = {}
        # Orders of which it is not known yet that they were carried out, those of them that are to end, and how processes ended that may be theirs.
        self._starting: set[int] = set()
        self._unwanted: set[int] = set()
        self._ended_early: dict[int, int] = {}
        self._orders = b""
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(0, select.POLLIN)
        self._starts = PodStarts(shared, wake)

    def run(self) -> None:
        """Runs pods until there are no more orders."""
        _say(Answer(READY))
        while True:
            found = dict(self._poll.poll(self._milliseconds()))
            for descriptor, events in found.items():
                if descriptor in self._outputs:
                    self._copy(self._outputs[descriptor])
                if descriptor in self._ports:
                    self._see_to_ports(descriptor, events)
            self._kill_late()
            # Last: pods that were started have numbers of descriptors that were closed just now, and what was found of those is not about theirs.
            if self._woken in found:
                os.read(self._woken, _READ_BYTES)
                for begun in self._starts.begun():
                    self._take(begun)
                self._reap()
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
                self._starting.add(order.id)
                self._starts.put(order)
            elif order.id in self._starting:
                self._unwanted.add(order.id)
            else:
                self._end(order.id)
        return bool(data)

    def _take(self, begun: Begun) -> None:
        """Takes over a pod that was started, or that could not be."""
        order, pid = begun.order, begun.pid
        self._starting.discard(order.id)
        running = _Running(order.id, order.grace, *begun.output, begun.problem)
        if begun.host is not None:
            self._take_listener(begun.host, dict(order.ports))
        if running.output >= 0:
            self._outputs[running.output] = running
            self._poll.register(running.output, select.POLLIN)
        if order.tells_start and not begun.problem:
            _say(Answer(order.id, started=True))
        if pid < 0 or pid in self._ended_early:
            self._finish(running, self._ended_early.pop(pid, 0))
        else:
            self._running[pid], self._pids[order.id] = running, pid
            if begun.problem:
                os.kill(pid, signal.SIGKILL)
            elif order.id in self._unwanted:
                self._end(order.id)
        self._unwanted.discard(order.id)
        if not self._starting:
            self._ended_early.clear()

    # --- ports

    def _take_listener(self, host: socket.socket, ports: dict[int, int]) -> None:
        """Takes over what gets the stopped calls of a pod that has ports."""
        with host:
            found = socket.recv_fds(host, 1, 1, socket.MSG_CMSG_CLOEXEC)[1]
        for listener in found:
            self._ports[listener] = ports
            self._poll.register(listener, select.POLLIN)

    def _see_to_ports(self, listener: int, events: int) -> None:
        if events & select.POLLIN:
            answer_call(listener, self._ports[listener])
            return
        # Nobody is left whose calls are stopped.
        self._poll.unregister(listener)
        del self._ports[listener]
        os.close(listener)

    # --- ends

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
                running, code = self._running.pop(found[0], None), os.waitstatus_to_exitcode(found[1])
                if running is not None:
                    self._finish(running, code)
                elif self._starting:
                    self._ended_early[found[0]] = code

    def _finish(self, running: _Running, code: int) -> None:
        while running.output >= 0:
            self._copy(running, at_end=True)
        self._pids.pop(running.id, None)
        _say(Answer(running.id, 128 - code if code < 0 else code, running.problem))

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
