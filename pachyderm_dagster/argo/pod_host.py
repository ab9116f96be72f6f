"""A process that runs pods: each in a root of its own, with the machine's programs read-only, and processes of its own.

It lives in the private namespaces of `worker/sandbox.py`, whose guard ends all user code when it dies. It reads orders, a line of JSON each, from its standard
input and answers on its standard output. `python -m pachyderm_dagster.argo.pod_host SCRATCH network|no-network [LOCK]`.
"""

import contextlib
import errno
import fcntl
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec

from pachyderm_dagster.argo.bound_ports import answer_call, stop_calls
from pachyderm_dagster.kernel import find_text
from pachyderm_dagster.worker import linux, sandbox

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix")
"""Entries of `/` that pods see and cannot write."""
_SYSTEM_FOLDER = "/.system"
_OWN_FOLDERS = ("tmp", "proc", "dev", "sys", "root", "home", "var", "run", "mnt")
_READ_BYTES = 1 << 16
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod to run, or, without `argv`, to end.

    Attributes:
        root: the folder that becomes its root.
        folders: of the machine, by where the pod sees them; and whether it may write there.
        result: where its standard output goes too, if that is wanted.
        tells_start: there is an answer when its program runs, too.
        ports: in place of which port which other one is taken, where it listens and on the loopback.
        grace: seconds that it has to end before it is killed.
    """

    id: int
    root: str = ""
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    working_dir: str = "/"
    folders: tuple[tuple[str, str, bool], ...] = ()
    log: str = ""
    result: str = ""
    tells_start: bool = False
    ports: tuple[tuple[int, int], ...] = ()
    grace: float = 2.0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a pod ended: its exit code, or why it did not start; or that it was started. The first answer has the id -1: the host is ready, or why not."""

    id: int
    code: int = 0
    problem: str = ""
    started: bool = False


@dataclass(slots=True)
class _Running:
    """A pod that runs: what it is about to say of its start, and what it prints where that is copied."""

    id: int
    problem: int
    grace: float
    output: int = -1
    files: list[int] = field(default_factory=list)
    kill_at: float | None = None
    said: bytes = b""


def main(scratch: str, network: str, lock: str = "") -> int:
    """Runs pods until there are no more orders; with a lock, when no other host holds it any more."""
    if lock:
        # Held until the last process of this host is gone, its guard too. What pods run does not get it.
        fcntl.flock(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), fcntl.LOCK_EX)
    found = sandbox.enter(scratch)
    if found.problem is not None:
        _say(Answer(-1, problem=found.problem))
        return 1
    try:
        _prepare(with_network=network == "network")
    except OSError as error:
        _say(Answer(-1, problem=f"pods cannot be made here: {error.strerror or error}"))
        return 1
    _say(Answer(-1))
    host = _Host()
    # What it has is kept to its end; a collection would copy, in every pod, the memory that they share.
    gc.freeze()
    gc.disable()
    host.run()
    return 0


def _prepare(*, with_network: bool) -> None:
    """Makes what all pods share: the machine's programs, once more and read-only, and a network with nothing but this machine's own address."""
    os.mkdir(_SYSTEM_FOLDER)
    extra = [prefix for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)) if prefix.strip("/").partition("/")[0] not in SYSTEM]
    for path in (*(f"/{name}" for name in SYSTEM), *extra):
        target = _SYSTEM_FOLDER + path
        if os.path.isdir(path) and not os.path.islink(path):
            os.makedirs(target)
            linux.mount(path, target, flags=linux.MS_BIND | linux.MS_REC)
            linux.mount(path, target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)
    # Each pod has a copy of all that is mounted here: what no pod sees is not to be copied.
    with contextlib.suppress(OSError):
        linux.detach("/sys")
    if not with_network:
        linux.unshare(linux.CLONE_NEWNET)
        _raise_loopback()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _say(answer: Answer) -> None:
    os.write(1, msgspec.json.encode(answer) + b"\n")


class _Host:
    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._pids: dict[int, int] = {}
        self._outputs: dict[int, _Running] = {}
        self._starting: dict[int, int] = {}
        self._ports: dict[int, dict[int, int]] = {}
        self._orders = b""
        self._own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._system = [(name, os.readlink(f"/{name}") if os.path.islink(f"/{name}") else None) for name in SYSTEM if os.path.lexists(f"/{name}")]
        self._ignored = [int(number) for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
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
            for descriptor, events in self._poll.poll(self._milliseconds()):
                if descriptor == 0 and not self._read_orders():
                    return
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

    def _milliseconds(self) -> int | None:
        times = [one.kill_at for one in self._running.values() if one.kill_at is not None]
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    def _read_orders(self) -> bool:
        data = os.read(0, _READ_BYTES)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            order = msgspec.json.decode(line, type=Order)
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
            _become(order, self._system, self._ignored, log, output, problem, there)
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
            return _Running(order.id, -1, order.grace), log, log
        files = [os.dup(log), os.open(order.result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)]
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        return _Running(order.id, -1, order.grace, reader, files), log, writer

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


def _become(
    order: Order, system: list[tuple[str, str | None]], ignored: list[int], log: int, output: int, problem: int, host: socket.socket | None
) -> NoReturn:
    """Turns this process, which was just forked, into the pod's; what the host ignores of signals, its program would inherit."""
    try:
        signal.set_wakeup_fd(-1)
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(log, 2)
        _enter_root(order, system)
        os.chdir(order.working_dir)
        if host is not None:
            socket.send_fds(host, [b"+"], [stop_calls()])
        os.execvpe(order.argv[0], order.argv, order.environment)
    except OSError as error:
        os.write(problem, _told(order, error).encode())
    except BaseException as error:  # noqa: BLE001  nothing of this process may go on as the host
        os.write(problem, repr(error).encode())
    os._exit(1)


def _told(order: Order, error: OSError) -> str:
    # Where it is searched along PATH, the name of the last try is bytes.
    if error.errno == errno.ENOENT and (isinstance(error.filename, bytes) or error.filename in (None, order.argv[0])):
        return f"the program {order.argv[0]!r} is not on this machine"
    return f"{error.filename or order.argv[0]}: {error.strerror}"


def _enter_root(order: Order, system: list[tuple[str, str | None]]) -> None:
    root = order.root
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    linux.mount(root, root, flags=linux.MS_BIND | linux.MS_REC)
    for name in _OWN_FOLDERS:
        _make_folder(f"{root}/{name}")
    os.chmod(f"{root}/tmp", 0o1777)
    for name, link in system:
        if link is not None:
            with contextlib.suppress(FileExistsError):
                os.symlink(link, f"{root}/{name}")
        else:
            _make_folder(f"{root}/{name}")
            linux.mount(f"{_SYSTEM_FOLDER}/{name}", f"{root}/{name}", flags=linux.MS_BIND | linux.MS_REC)
    for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)):
        if os.path.isdir(_SYSTEM_FOLDER + prefix) and not os.path.ismount(root + prefix) and prefix.strip("/").partition("/")[0] not in SYSTEM:
            os.makedirs(root + prefix, exist_ok=True)
            linux.mount(_SYSTEM_FOLDER + prefix, root + prefix, flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("/dev", f"{root}/dev", flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("proc", f"{root}/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for source, target, writable in order.folders:
        _bind(source, root + target, writable=writable)
    old = f"{root}/.machine"
    _make_folder(old)
    linux.pivot_root(root, old)
    os.chdir("/")
    linux.detach("/.machine")
    os.rmdir("/.machine")


def _bind(source: str, target: str, *, writable: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    if not writable:
        linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)


def _make_folder(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
