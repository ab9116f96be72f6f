"""Datum batching: user code that stays for a set of datums and asks for one after another with `pachctl next datum`."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.protocol import WorkerSetup
from pachyderm_dagster.worker.run import ASKED, TIME_UP, Command, CommandRunner, Ending, Process
from pachyderm_dagster.worker.sandbox import Sandbox

SOCKET_VARIABLE = "PACH_DATUM_SOCKET"
DONE = b"ok\n"
_SOCKET_NAME = ".next-datum"
_ANSWER_SECONDS = 5.0
_MOST_BYTES = 1 << 16
_WAITING_CALLS = 8


class NextRequest(msgspec.Struct, frozen=True):
    """What `next datum` sends, as a line of JSON; it is answered with `DONE` when the next datum is in place.

    Args:
        error: why the datum before failed; None when it is done.
    """

    error: str | None = None


class Call(Protocol):
    """One `next datum` that waits for its answer."""

    @property
    def error(self) -> str | None:
        """Why the datum before failed; None when it is done, or there was none."""
        ...

    def answer(self) -> bool:
        """Says that the next datum is in place; false when nobody waits for that any more. Once."""
        ...

    def drop(self) -> None:
        """Gives no answer."""
        ...


class Calls(Protocol):
    """How user code says that it wants its next datum."""

    @property
    def variables(self) -> Mapping[str, str]:
        """By which user code finds it."""
        ...

    def fileno(self) -> int:
        """A descriptor that can be read when somebody calls."""
        ...

    def accept(self) -> Call | None:
        """The next call; None of one that does not say what it wants."""
        ...

    def forget(self) -> None:
        """Whoever called has ended."""
        ...


class BatchProcess:
    """The process of one set after another; nothing of it is left behind `stop`.

    Args:
        environment: of the process; what is particular to a datum is in `/pfs/.env`.
        stays: whether one process does the datums of all sets.
    """

    def __init__(self, runner: CommandRunner, command: Command, environment: Mapping[str, str], calls: Calls, *, stays: bool = False) -> None:
        self._stays = stays
        self._runner = runner
        self._command = command
        self._environment = {**environment, **calls.variables}
        self._calls = calls
        self._process: Process | None = None
        self._call: Call | None = None
        self._set: int | None = None

    def begin_set(self, number: int | None) -> None:
        """Ends the process of another set, unless it stays."""
        if not self._stays and (number is None or number != self._set):
            self.stop()
        self._set = number

    def run(self, log: OutputLog) -> Ending:
        """One try of the datum that is in `/pfs`: until the process asks for the next one, says that it failed, ends, or is out of time.

        Raises:
            ExecutionError: as `Runner.start`.
        """
        started = time.monotonic()
        if self._process is None:
            self._process = self._runner.start(self._command, self._environment)
        while not self._answer():
            failure = self._await_call(log, "before it called `pachctl next datum`")
            if failure is not None:
                return self._fail(failure, time.monotonic() - started)
        failure = self._await_call(log, "before the end of its datum set")
        if failure is not None:
            return self._fail(failure, time.monotonic() - started)
        self._runner.copy_output(self._process, log)
        seconds = time.monotonic() - started
        error = self._call.error if self._call is not None else None
        if error is not None:
            return Ending(None, seconds, ExecutionError("datum-error", f"the code gave the datum up: {error}"))
        return Ending(0, seconds)

    def stop(self) -> None:
        """Ends the process, if there is one, and all that it started."""
        if self._call is not None:
            self._call.drop()
            self._call = None
        if self._process is not None:
            process, self._process = self._process, None
            self._runner.end(process, OutputLog())
            self._calls.forget()

    def _fail(self, failure: ExecutionError, seconds: float) -> Ending:
        self.stop()
        return Ending(None, seconds, failure)

    def _answer(self) -> bool:
        """Tells the call that waits that a datum is in place; false when none does."""
        call, self._call = self._call, None
        return call is not None and call.answer()

    def _await_call(self, log: OutputLog, when: str) -> ExecutionError | None:
        """Waits for the next call and keeps it; why there is none."""
        assert self._process is not None
        timeout = self._command.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        program = os.path.basename(self._command.argv[0])
        while self._call is None:
            try:
                found = self._runner.wait(self._process, log, deadline, request=self._calls.fileno())
            except ExecutionError:
                self._process = None
                raise
            if found is ASKED:
                self._call = self._calls.accept()
            elif found is TIME_UP:
                return ExecutionError("datum-timeout", f"{program!r} took longer than datum_timeout, {timeout:g} s, and was stopped {when}")
            else:
                self._runner.copy_output(self._process, log)
                said = log.last_lines()
                output = f"; its last output: {said}" if said else "; it printed nothing"
                return ExecutionError("batch-ended", f"{program!r} ended with exit code {found} {when}{output}")
        return None


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """Another name of a socket's path: the address of a socket takes about a hundred bytes only."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


@dataclass(frozen=True, slots=True)
class SocketCall:
    """A call by the socket."""

    connection: socket.socket
    error: str | None

    def answer(self) -> bool:
        try:
            self.connection.sendall(DONE)
        except OSError:
            # It was given up, so its datum was not taken.
            return False
        finally:
            self.connection.close()
        return True

    def drop(self) -> None:
        self.connection.close()


class SocketCalls:
    """Calls by a socket on this machine.

    Args:
        folder: where it is made; user code finds it there.
        search_path: of user code; `pachctl` is found beside this interpreter where it does not lead to it.
    """

    def __init__(self, folder: str, search_path: str) -> None:
        path = os.path.join(folder, _SOCKET_NAME)
        self.variables = {SOCKET_VARIABLE: path, "PATH": os.pathsep.join([search_path, os.path.dirname(sys.executable)])}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with short_path(path) as short:
            self._listener.bind(short)
        # User code may run as another user.
        os.chmod(path, 0o666)
        self._listener.listen(_WAITING_CALLS)

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> SocketCall | None:
        connection, _ = self._listener.accept()
        connection.settimeout(_ANSWER_SECONDS)
        received = b""
        try:
            while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
                piece = connection.recv(_MOST_BYTES)
                if not piece:
                    break
                received += piece
            return SocketCall(connection, msgspec.json.decode(received, type=NextRequest).error)
        except (OSError, msgspec.MsgspecError):
            connection.close()
            return None

    def forget(self) -> None:
        """A connection of what has ended is found to be that when it is answered."""


def local_calls(setup: WorkerSetup, sandbox: Sandbox) -> SocketCalls | None:
    """How user code on this machine calls; None without datum batching."""
    if not setup.datum_batching:
        return None
    # The root of a private namespace is in memory and seen by its processes alone.
    folder = os.path.dirname(sandbox.root) if sandbox.problem is None else setup.scratch
    return SocketCalls(folder, setup.environment.get("PATH", os.defpath))
