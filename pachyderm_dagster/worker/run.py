"""Runs the user's command once: starts it, reads what it prints, waits with a limit, ends all that it started."""

import contextlib
import enum
import errno
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker import launch
from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.processes import end_descendants
from pachyderm_dagster.worker.users import User

_READ_BYTES = 1 << 16
_STATUS = 3
# All whose action can be chosen. What this process or Python ignores of them, user code must not inherit.
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
NO_FILE, NO_INTERPRETER = "does not exist", "exists, but the interpreter that its first line names does not"
_REMEDIES = {
    os.strerror(errno.EACCES): "; make it executable (chmod +x) or name its interpreter first",
    os.strerror(errno.ENOEXEC): "; it must be a program of this machine or a script that begins with #!",
    os.strerror(errno.E2BIG): "; its arguments and its environment are more than this system takes",
}


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, the same for every datum of a pipeline.

    Attributes:
        argv: the program and its arguments; no shell reads them.
        stdin_lines: what it gets as standard input, and `stdin_path`, the file that holds them.
        working_dir: where it starts.
        user: the user that it runs as; None for the worker's own.
        image: the image that a cluster would run it in, for the message when the program is missing here; empty if it runs in that image.
        timeout: seconds for one try, None for no limit.
        cgroups: folders of the control groups that it runs in, one of each tree at most; none for the worker's own.
        terminal: the command has the standard streams of this process to itself, and no limit.
    """

    argv: tuple[str, ...]
    stdin_lines: tuple[str, ...]
    stdin_path: str
    working_dir: str
    image: str
    timeout: float | None
    user: User | None = None
    cgroups: tuple[str, ...] = ()
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How one try ended: its exit code (negative: the signal that ended it; None: the time was up) and the seconds it took.

    Attributes:
        failure: what is known to have failed, whatever the exit code.
    """

    exit_code: int | None
    seconds: float
    failure: ExecutionError | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """User code that was started: the id of its first process, and the pipe from which its output is read."""

    id: int
    output: int


class Event(enum.Enum):
    """What a wait may end with beside an exit code."""

    TIME_UP = enum.auto()  # the deadline passed
    ASKED = enum.auto()  # the descriptor of requests can be read


TIME_UP, ASKED = Event.TIME_UP, Event.ASKED


class CommandRunner(Protocol):
    """Runs commands one after another."""

    def run(self, command: Command, environment: Mapping[str, str], log: OutputLog) -> Ending:
        """Runs the command to its end; nothing that it started is left when this returns.

        Raises:
            ExecutionError: it cannot be started, and trying again is pointless: `command-not-found`, `command-not-executable`, `working-dir-invalid`.
        """
        ...

    def start(self, command: Command, environment: Mapping[str, str]) -> Process:
        """Starts the command, which `end` must end. Errors as `run`; `wait` may raise them instead."""
        ...

    def end(self, process: Process, log: OutputLog) -> None:
        """Ends all that was started since, and reads what it still printed."""
        ...

    def copy_output(self, process: Process, log: OutputLog) -> None:
        """Reads what a process has printed by now."""
        ...

    def wait(self, process: Process, log: OutputLog, deadline: float | None, request: int | None = None) -> int | Event:
        """Reads what the process prints until it ends, the deadline (of the monotonic clock) comes, or the descriptor `request` can be read."""
        ...


def run_to_end(runner: CommandRunner, command: Command, environment: Mapping[str, str], log: OutputLog) -> Ending:
    """Starts the command, waits for it or for its time to be up, and ends all that it started."""
    started = time.monotonic()
    process = runner.start(command, environment)
    try:
        found = runner.wait(process, log, None if command.timeout is None else started + command.timeout)
        seconds = time.monotonic() - started
    finally:
        runner.end(process, log)
    return Ending(None if isinstance(found, Event) else found, seconds)


class Runner:
    """Runs commands on this machine, in the main thread.

    Args:
        parent: descriptor of the pipe from the process that this worker works for; when that closes it or dies, user code is ended and the worker ends.
        grace: seconds that user code then has, after a SIGTERM, before it is killed.
    """

    def __init__(self, parent: int, *, grace: float = 0.0) -> None:
        self._parent = parent
        self._grace = grace
        # A signal that arrives before poll() would be lost; the byte that Python writes here for each SIGCHLD is not.
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        # No event asked for: only the hang-up is reported, while tasks may wait in the pipe.
        self._poll.register(parent, 0)

    def run(self, command: Command, environment: Mapping[str, str], log: OutputLog) -> Ending:
        """As `CommandRunner.run`."""
        if command.terminal:
            started = time.monotonic()
            return Ending(_run_in_terminal(command, environment), time.monotonic() - started)
        return run_to_end(self, command, environment, log)

    def start(self, command: Command, environment: Mapping[str, str]) -> Process:
        """As `CommandRunner.start`."""
        output, output_writer = os.pipe()
        os.set_blocking(output, False)
        try:
            return Process(_start(command, environment, output_writer), output)
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(output_writer)

    def end(self, process: Process, log: OutputLog) -> None:
        """As `CommandRunner.end`."""
        try:
            _end_session(process.id)
            self.copy_output(process, log)
        finally:
            os.close(process.output)

    def copy_output(self, process: Process, log: OutputLog) -> None:
        """As `CommandRunner.copy_output`."""
        while _copy_output(process.output, log):
            pass

    def wait(self, process: Process, log: OutputLog, deadline: float | None, request: int | None = None) -> int | Event:
        """As `CommandRunner.wait`."""
        watched = {process.output} if request is None else {process.output, request}
        for descriptor in watched:
            self._poll.register(descriptor, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in self._poll.poll(milliseconds(deadline, log.seconds_to_telling))]
                log.tell()
                if not ready and deadline is not None and time.monotonic() >= deadline:
                    return TIME_UP
                if self._parent in ready:
                    self._end_gently(process, log)
                    end_worker()
                if process.output in ready and not _copy_output(process.output, log):
                    # At its end it would wake poll() for ever.
                    watched.remove(process.output)
                    self._poll.unregister(process.output)
                if request in ready:
                    return ASKED
                if self._woken in ready:
                    os.read(self._woken, _READ_BYTES)
                    code = _reap(process.id)
                    if code is not None:
                        return code
        finally:
            for descriptor in watched:
                self._poll.unregister(descriptor)

    def _end_gently(self, process: Process, log: OutputLog) -> None:
        """Asks user code to end, and waits as long as it may take."""
        if not self._grace:
            return
        self._poll.unregister(self._parent)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.id, signal.SIGTERM)
        self.wait(process, log, time.monotonic() + self._grace)


def milliseconds(deadline: float | None, seconds: float | None) -> float | None:
    """For poll(): the time until the deadline, or so many seconds, whichever comes first."""
    waits = [max(0.0, deadline - time.monotonic())] if deadline is not None else []
    waits += [] if seconds is None else [seconds]
    return min(waits) * 1000 if waits else None


def outlive_signals() -> None:
    """Has this process, the first of its namespace, ignore what user code may send it.

    The kernel keeps such a process from signals of its own namespace, but not while one thread blocks them, as starting a command does, and another does not.
    """
    for number in _SIGNALS - {signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)


def end_worker() -> None:
    """Kills all user code and ends this process at once."""
    end_descendants()
    os._exit(128 + signal.SIGTERM)


def _end_session(leader: int) -> None:
    # The session first: without a process namespace or an adopter of orphans it is all that can be found.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    end_descendants()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler, so that Python writes to the wake-up descriptor; the default action would not."""


def _run_in_terminal(command: Command, environment: Mapping[str, str]) -> int:
    """The exit code. This process's own group gets the terminal: a shell gives it back to the group that it found, which it must see in its namespace."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
    process = _start(command, environment, None)
    _, status = os.waitpid(process, 0)
    end_descendants()
    return os.waitstatus_to_exitcode(status)


def _start(command: Command, environment: Mapping[str, str], output: int | None) -> int:
    """Starts the command, which prints to the descriptor `output`, in a session of its own; without it here, with this process's standard streams.
    The id of its process.
    """
    try:
        os.chdir(command.working_dir)
    except OSError as error:
        raise working_dir_invalid(command, error.strerror or "") from error
    program = command.argv[0] if "/" in command.argv[0] else shutil.which(command.argv[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise not_found(command, not_in_path(environment))
    try:
        if command.user is not None or command.cgroups:
            return _start_changed(program, command, environment, output)
        return _spawn(program, command.argv, command, environment, output)
    except FileNotFoundError as error:
        raise not_found(command, NO_INTERPRETER if os.path.exists(program) else NO_FILE) from error
    except OSError as error:
        raise not_executable(program, error.strerror or "") from error
    except ValueError as error:
        raise not_executable(program, f"{error} in its arguments or environment") from error


def _spawn(program: str, argv: tuple[str, ...], command: Command, environment: Mapping[str, str], output: int | None, *, status: int | None = None) -> int:
    """Starts a program, in a session of its own when it has an output; `status` is its descriptor of that number too."""
    streams = (
        []
        if output is None
        else [(os.POSIX_SPAWN_OPEN, 0, command.stdin_path, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    )
    return os.posix_spawn(
        program,
        argv,
        environment,
        file_actions=[
            *streams,
            *([] if status is None else [(os.POSIX_SPAWN_DUP2, status, _STATUS)]),
        ],
        setsid=output is not None,
        setsigdef=_SIGNALS,
    )


def _start_changed(program: str, command: Command, environment: Mapping[str, str], output: int | None) -> int:
    """Starts the command as another user, or in its control groups. Errors as `posix_spawn`."""
    user = command.user
    if output is not None and user is not None:
        # What is opened again by its name, as /dev/stdout, asks who owns it.
        os.fchown(output, user.id, user.group)
    reader, writer = os.pipe()
    try:
        try:
            ids = ["", "", ""] if user is None else [str(user.id), str(user.group), ",".join(map(str, user.groups))]
            argv = (sys.executable, "-I", "-S", launch.__file__, "\n".join(command.cgroups), *ids, str(_STATUS), program, *command.argv)
            process = _spawn(sys.executable, argv, command, environment, output, status=writer)
        finally:
            os.close(writer)
        failed = os.read(reader, _READ_BYTES)
    finally:
        os.close(reader)
    if failed:
        os.waitpid(process, 0)
        if failed.startswith(b"G"):
            problem = f"the code cannot be held to its resource_limits: it cannot enter {' and '.join(command.cgroups)}: {os.strerror(int(failed[1:]))}"
            raise ExecutionError("limits-not-set", f"{problem}; run the job again, or remove the limits")
        raise OSError(int(failed), os.strerror(int(failed)))
    return process


def working_dir_invalid(command: Command, problem: str) -> ExecutionError:
    """The error for a working folder that cannot be entered."""
    way_out = "name a folder that exists where the pipeline runs"
    return ExecutionError("working-dir-invalid", f"working_dir {command.working_dir!r} cannot be entered: {problem}; {way_out}")


def not_executable(program: str, problem: str) -> ExecutionError:
    """The error for a program that is there and cannot be run."""
    return ExecutionError("command-not-executable", f"command {program!r} cannot be run: {problem}{_REMEDIES.get(problem, '')}")


def not_in_path(environment: Mapping[str, str]) -> str:
    """How a program was not found by its name."""
    return f"was not found in PATH={environment.get('PATH', os.defpath)}"


def not_found(command: Command, how: str) -> ExecutionError:
    """The error for a program that is not there."""
    here = f"; the pipeline runs on this machine, not in its image {command.image!r}: install the command here or give its path" if command.image else ""
    return ExecutionError("command-not-found", f"command {command.argv[0]!r} {how}{here}")


def _copy_output(output: int, log: OutputLog) -> bool:
    """Moves what is in the pipe to the log; false when there is no more, now or ever."""
    try:
        data = os.read(output, _READ_BYTES)
    except BlockingIOError:
        return False
    log.write(data)
    return bool(data)


def _reap(process: int) -> int | None:
    """Takes the ends of all ended children, also adopted ones; the exit code of `process` if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == process:
                code = os.waitstatus_to_exitcode(status)
    return code
