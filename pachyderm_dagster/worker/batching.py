"""Datum batching: user code that stays for a set of datums and asks for one after another with `pachctl next datum`."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.run import ASKED, TIME_UP, Command, Ending, Process, Runner

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


@dataclass(frozen=True, slots=True)
class _Call:
    """One `next datum` that waits for its answer."""

    connection: socket.socket
    error: str | None


class BatchProcess:
    """The process of one set after another; nothing of it is left behind `stop`.

    Args:
        environment: of the process; what is particular to a datum is in `/pfs/.env`.
        folder: where the socket is made; user code finds it there.
    """

    def __init__(self, runner: Runner, command: Command, environment: Mapping[str, str], folder: str) -> None:
        self._runner = runner
        self._command = command
        path = os.path.join(folder, _SOCKET_NAME)
        self._environment = {**environment, SOCKET_VARIABLE: path}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with short_path(path) as short:
            self._listener.bind(short)
        # User code may run as another user.
        os.chmod(path, 0o666)
        self._listener.listen(_WAITING_CALLS)
        self._process: Process | None = None
        self._call: _Call | None = None
        self._set: int | None = None

    def begin_set(self, number: int | None) -> None:
        """Ends the process of another set."""
        if number is None or number != self._set:
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
            return Ending(None, seconds, ExecutionError("datum-error", f"`next datum --error` said: {error}"))
        return Ending(0, seconds)

    def stop(self) -> None:
        """Ends the process, if there is one, and all that it started."""
        if self._call is not None:
            self._call.connection.close()
            self._call = None
        if self._process is not None:
            self._runner.end(self._process, OutputLog())
            self._process = None

    def _fail(self, failure: ExecutionError, seconds: float) -> Ending:
        self.stop()
        return Ending(None, seconds, failure)

    def _answer(self) -> bool:
        """Tells the call that waits that a datum is in place; false when none does."""
        if self._call is None:
            return False
        connection, self._call = self._call.connection, None
        try:
            connection.sendall(DONE)
        except OSError:
            # It was given up, so its datum was not taken.
            return False
        finally:
            connection.close()
        return True

    def _await_call(self, log: OutputLog, when: str) -> ExecutionError | None:
        """Waits for the next call and keeps it; why there is none."""
        assert self._process is not None
        timeout = self._command.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        program = os.path.basename(self._command.argv[0])
        while self._call is None:
            found = self._runner.wait(self._process, log, deadline, request=self._listener.fileno())
            if found is ASKED:
                self._call = _accept(self._listener)
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


def _accept(listener: socket.socket) -> _Call | None:
    """The next call; None of one that does not say what it wants."""
    connection, _ = listener.accept()
    connection.settimeout(_ANSWER_SECONDS)
    received = b""
    try:
        while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
            piece = connection.recv(_MOST_BYTES)
            if not piece:
                break
            received += piece
        return _Call(connection, msgspec.json.decode(received, type=NextRequest).error)
    except (OSError, msgspec.MsgspecError):
        connection.close()
        return None
