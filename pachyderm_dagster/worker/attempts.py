"""Tries a datum as often as its pipeline allows, and says in one line why it failed."""

import os
import re
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.output_log import OutputLog
from pachyderm_dagster.worker.run import Command, Ending
from pachyderm_dagster.worker.sandbox import PFS, Sandbox

LINE_OF_TRY = re.compile(r"\[try \d+ of \d+\]")
"""The line in a datum's output behind which another try begins."""


@dataclass(slots=True)
class Attempts:
    """What came of a datum's tries.

    Attributes:
        failure: why it failed; None after a success.
        recovered: whether the error command succeeded after a failed try.
        exit_code: of the last try, None if it did not start or was out of time.
        count: of tries that were started.
        seconds: in user code, over all tries.
        started: when the first one was, in seconds since 1970; 0 if none was.
        log: what user code printed.
    """

    failure: ExecutionError | None = None
    recovered: bool = False
    exit_code: int | None = None
    count: int = 0
    seconds: float = 0.0
    started: float = 0.0
    log: OutputLog = field(default_factory=OutputLog)


def attempt(
    run: Callable[[OutputLog], Ending],
    command: Command,
    *,
    recover: Callable[[OutputLog], Ending] | None,
    tries: int,
    accepted_codes: Collection[int],
    before_retry: Callable[[], None],
    sandbox: Sandbox,
    log: OutputLog,
) -> Attempts:
    """Calls `run`, which runs the command, until a try ends with 0 or an accepted code, at most `tries` times; calls `before_retry` before each but the first.

    After each failed try the error command, which `recover` runs if there is one, finds `/pfs` as the try left it; when it ends well there is no other try.
    A command that cannot be started is not tried again, nor recovered. An ExecutionError of `before_retry` is the failure; any other error is raised.
    """
    done = Attempts(log=log)
    while done.count < tries:
        try:
            if done.count:
                before_retry()
                done.log.note(f"try {done.count + 1} of {tries}")
            ending = run(done.log)
        except ExecutionError as error:
            done.failure = error
            break
        done.count += 1
        done.seconds += ending.seconds
        done.exit_code = ending.exit_code
        done.failure = _failure_of(command, ending, accepted_codes, done)
        if done.failure is None:
            return done
        if recover is not None and _recovers(recover, accepted_codes, done):
            done.recovered = True
            break
    done.failure = _with_hint(done.failure, command, done.log, sandbox)
    return done


def _recovers(recover: Callable[[OutputLog], Ending], accepted_codes: Collection[int], done: Attempts) -> bool:
    done.log.note("err_cmd")
    try:
        ending = recover(done.log)
    except ExecutionError as error:
        done.log.note(f"err_cmd: {error}")
        return False
    done.seconds += ending.seconds
    return ending.exit_code == 0 or ending.exit_code in accepted_codes


def _failure_of(command: Command, ending: Ending, accepted_codes: Collection[int], done: Attempts) -> ExecutionError | None:
    code = ending.exit_code
    if ending.failure is not None:
        return ending.failure
    if code == 0 or code in accepted_codes:
        return None
    program = os.path.basename(command.argv[0])
    tries = f" (try {done.count})" if done.count > 1 else ""
    said = done.log.last_lines()
    output = f"; its last output: {said}" if said else "; it printed nothing"
    if code is None:
        return ExecutionError("datum-timeout", f"{program!r} ran longer than datum_timeout, {command.timeout:g} s, and was stopped{tries}{output}")
    if code < 0:
        killer = ", often sent by the kernel when memory runs out" if -code == signal.SIGKILL else ""
        return ExecutionError("command-killed", f"{program!r} was ended by signal {-code} ({signal.strsignal(-code)}){killer}{tries}{output}")
    return ExecutionError("command-failed", f"{program!r} ended with exit code {code}{tries}{output}")


def _with_hint(failure: ExecutionError | None, command: Command, log: OutputLog, sandbox: Sandbox) -> ExecutionError | None:
    """Where `/pfs` is not real, a command that names it fails in ways of its own; this says why."""
    if failure is None or sandbox.problem is None or not any(PFS in text for text in (*command.argv, *command.stdin_lines, log.last_lines())):
        return failure
    return ExecutionError(failure.code, f"{failure.message}; note that the files are in {sandbox.root} ($PFS_ROOT): {sandbox.problem}")
