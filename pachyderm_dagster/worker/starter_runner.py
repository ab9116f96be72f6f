"""Runs commands in the container of a pipeline's image, by the starter that is process 1 there: as `Runner` does on one machine."""

import contextlib
import errno
import os
import re
import select
import shlex
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.storage.system_errors import is_full
from pachyderm_dagster.worker.cgroups import Memory
from pachyderm_dagster.worker.full_disks import disk_full
from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.run import (
    ASKED,
    NO_FILE,
    NO_INTERPRETER,
    TIME_UP,
    Command,
    Ending,
    Event,
    Process,
    milliseconds,
    not_executable,
    not_found,
    not_in_path,
    run_to_end,
    working_dir_invalid,
)
from pachyderm_dagster.worker.starter import ANSWERS, CONTROL, CWD, ENVIRON, IDS, MEMORY, OUTPUT, TRIES

_READY = "ready"
_READ_BYTES = 1 << 16
_TRY, _NEXT_TRY = "try", "try.next"
# Enough of a try's output to see that it is nothing but the message of a program that was not started: by the runner's shell, or by busybox.
_BEGIN_BYTES = 1 << 13
_NOT_STARTED = re.compile(rb"/pach/bin/runner: [^\n]*: line \d+: (.*): ([^:\n]*)\n|setsid: can't execute '(.*)': ([^']*)\n", re.DOTALL)
_EXITS_NOT_STARTED = (126, 127)
_SIGNAL_BASE = 128
# Version 1 of control groups says the largest number of whole pages for none.
_NO_LIMIT = 1 << 62
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_THE_SHELL = {"B", "IFS", "LINENO", "OPTIND", "PPID", "PS1", "PS2", "PS4", "RANDOM", "_"}
_SIGNALS = signal.valid_signals()


class StarterGone(Exception):
    """The container of user code ended.

    Args:
        told: whether somebody had it end, as the kubelet does with a pod that is deleted.
    """

    def __init__(self, *, told: bool) -> None:
        super().__init__()
        self.told = told


@dataclass(frozen=True, slots=True)
class Image:
    """What the container of user code is by itself.

    Attributes:
        environment: its variables.
        folder: its working folder.
        user, group: numbers of the user that it runs as.
    """

    environment: dict[str, str]
    folder: str
    user: int
    group: int


class StarterRunner:
    """Runs commands one after another in the container of user code. Every method raises StarterGone when that ends.

    Args:
        run: the folder of the pipes, which both containers know by this name.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._accepted: Collection[int] = ()
        # Not for writing: that nobody writes any more is how the end of the container is seen.
        self._answers = os.open(f"{run}/{ANSWERS}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # For both, so that neither waits for the other side, and what is written stays until it comes.
        self._control, self._tries, self._output = (os.open(f"{run}/{name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for name in (CONTROL, TRIES, OUTPUT))
        self._received = b""
        self._told = False
        # Numbers never come again, whoever gave them: the starter of a pod outlives its worker.
        self._number = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6)
        self._running: int | None = None
        self._begin = b""
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def begin(self) -> Image:
        """Waits for the container, ends what an earlier worker of the pod left running, and says what the container is."""
        self._say(self._control, f"end {self._number}")
        while f"{self._number} ended" not in self._take_answers(None):
            pass
        with contextlib.suppress(BlockingIOError):
            while os.read(self._output, _READ_BYTES):
                pass
        pairs = Path(self._run, ENVIRON).read_bytes().split(b"\0")
        variables = dict(os.fsdecode(pair).partition("=")[::2] for pair in pairs if b"=" in pair)
        user, group = Path(self._run, IDS).read_text(encoding="ascii").split()
        return Image(variables, os.fsdecode(Path(self._run, CWD).read_bytes().removesuffix(b"\n")), int(user), int(group))

    def run(self, command: Command, environment: Mapping[str, str], log: OutputLog) -> Ending:
        """As `Runner.run`."""
        return run_to_end(self, command, environment, log)

    def start(self, command: Command, environment: Mapping[str, str]) -> Process:
        """As `Runner.start`, but what keeps the command from being started is raised by `wait`."""
        self._number += 1
        self._begin = b""
        text = self._describe(command, environment)
        if b"\0" in text:
            raise not_executable(command.argv[0], "embedded null byte in its arguments or environment")
        try:
            descriptor = os.open(f"{self._run}/{_NEXT_TRY}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            with open(descriptor, "wb") as file:
                file.write(text)
        except OSError as error:
            if not is_full(error):
                raise
            raise disk_full(self._run, "there is no room left to start the code on the disk of its files") from error
        # The runner reads on in the file of the last try after that has answered: written over, its shell would run into the middle of this one.
        os.rename(f"{self._run}/{_NEXT_TRY}", f"{self._run}/{_TRY}")
        # What was said of an earlier try is of no use any more.
        self._take_answers(0)
        self._running, self._asked = self._number, (command, environment)
        self._say(self._tries, str(self._number))
        return Process(self._number, self._output)

    def end(self, process: Process, log: OutputLog) -> None:
        """As `Runner.end`."""
        if self._running == process.id:
            self._running = None
            self._say(self._control, f"end {process.id}")
            # However it ends meanwhile: the starter is done with this try when it says so.
            while f"{process.id} ended" not in self._take_answers(None):
                self.copy_output(process, log)
        self.copy_output(process, log)

    def copy_output(self, process: Process, log: OutputLog) -> None:
        """Reads what was printed by now."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(process.output, _READ_BYTES):
                self._begin += data[: _BEGIN_BYTES - len(self._begin)]
                log.write(data)

    def wait(self, process: Process, log: OutputLog, deadline: float | None, request: int | None = None) -> int | Event:
        """As `Runner.wait`.

        Raises:
            ExecutionError: as `Runner.start`.
        """
        watched = [process.output] if request is None else [process.output, request]
        for descriptor in watched:
            self._poll.register(descriptor, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in self._poll.poll(milliseconds(deadline, log.seconds_to_telling))]
                log.tell()
                if not ready and deadline is not None and time.monotonic() >= deadline:
                    return TIME_UP
                if process.output in ready:
                    self.copy_output(process, log)
                if self._answers in ready:
                    for line in self._read_answers():
                        code = self._code_of(line, process, log)
                        if code is not None:
                            return code
                if request in ready:
                    return ASKED
        finally:
            for descriptor in watched:
                self._poll.unregister(descriptor)

    def accept(self, codes: Collection[int]) -> None:
        """These exit codes are not taken for a signal."""
        self._accepted = frozenset(codes)

    def memory(self) -> Memory:
        """Of the container, as it was when the last try ended that did not end well."""
        words = Path(self._run, MEMORY).read_text(encoding="ascii", errors="replace").split()
        kills, limit = (int(word) if word.isdecimal() else 0 for word in [*words, "", ""][:2])
        return Memory(kills, limit if limit < _NO_LIMIT else 0)

    def exit(self, code: int) -> None:
        """Has the container of user code end with an exit code."""
        self._say(self._control, f"exit {code}")

    def was_told_to_end(self) -> bool | None:
        """Whether the container ended because somebody told it to; None when it has not ended."""
        try:
            self._read_answers()
        except StarterGone as gone:
            return gone.told
        return True if self._told else None

    def has_ended(self) -> bool:
        """Whether the container has ended, after `exit`: also when the next one has begun before anybody saw that nothing wrote into the pipe."""
        try:
            # That this one had begun was told before what ran in it ended.
            return _READY in self._read_answers() or self._told
        except StarterGone:
            return True

    def _describe(self, command: Command, environment: Mapping[str, str]) -> bytes:
        """What the runner is to do, in the language of its shell."""
        streams = f"<{shlex.quote(command.stdin_path)} >{self._run}/{OUTPUT} 2>&1 3>&- 4>&- 5>&-"
        path = environment.get("PATH", os.defpath)
        lines = [
            # Another try's number may be left in the pipe when a runner was killed.
            f'[ "$number" = {self._number} ] || return 0',
            f"enter {shlex.quote(command.working_dir)} || return 0",
            f"find_program {shlex.quote(command.argv[0])} {shlex.quote(path)} || return 0",
            # In parentheses, or the shell would write into the output which signal ended the program.
            f'( {_assignments(environment)} "$program" {" ".join(map(shlex.quote, command.argv[1:]))} {streams} )',
            "ended $?",
        ]
        return os.fsencode("\n".join(lines) + "\n")

    def _code_of(self, line: str, process: Process, log: OutputLog) -> int | None:
        """The exit code that an answer tells of a try; None when it tells nothing of it."""
        number, _, rest = line.partition(" ")
        if number not in (str(process.id), "lost"):
            return None
        self._running = None
        if number == "lost":
            return -signal.SIGKILL
        kind, _, detail = rest.partition(" ")
        self.copy_output(process, log)
        command, environment = self._asked
        failure = _failure_of(command, environment, kind, detail, self._begin)
        if failure is not None:
            raise failure
        code = int(detail)
        return code if code in self._accepted or code - _SIGNAL_BASE not in _SIGNALS else _SIGNAL_BASE - code

    def _take_answers(self, seconds: float | None) -> list[str]:
        """The lines that have come, after so long a wait for some; without an end of it when that is None."""
        self._poll.poll(None if seconds is None else seconds * 1000)
        return self._read_answers()

    def _read_answers(self) -> list[str]:
        try:
            data = os.read(self._answers, _READ_BYTES)
        except BlockingIOError:
            return []
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        found = [line.decode(errors="replace") for line in lines]
        self._told = self._told or "terminated" in found
        if not data or self._told:
            raise StarterGone(told=self._told)
        return found

    def _say(self, pipe: int, line: str) -> None:
        os.write(pipe, f"{line}\n".encode())


def _failure_of(command: Command, environment: Mapping[str, str], kind: str, detail: str, begin: bytes) -> ExecutionError | None:
    """Why a command was not started; None when it was."""
    program = command.argv[0]
    match kind:
        case "folder":
            return working_dir_invalid(command, detail)
        case "missing":
            return not_found(command, not_in_path(environment))
        case "absent":
            return not_found(command, NO_FILE)
        case "refused":
            return not_executable(program, detail)
    if int(detail) not in _EXITS_NOT_STARTED:
        return None
    said = _NOT_STARTED.fullmatch(begin)
    if said is None:
        return None
    problem = (said[2] or said[4]).decode(errors="replace")
    # That the program is there was looked at before.
    return not_found(command, NO_INTERPRETER) if problem in ("not found", os.strerror(errno.ENOENT)) else not_executable(program, problem)


def _assignments(environment: Mapping[str, str]) -> str:
    """What gives these variables, and no others, to the command behind it."""
    if all(map(_is_plain, environment)):
        return " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    # Another program to start, for names that a shell cannot give or gives a meaning of its own.
    # And one more: `env` takes a program for a variable when its path has a `=`.
    return '"$B" env -i ' + " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items()) + ' "$B" setsid'


def _is_plain(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None and name not in _OF_THE_SHELL
