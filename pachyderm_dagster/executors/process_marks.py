"""Knows a process again after its parent died: its number is given to others, its number with the time at which it was started is not."""

import contextlib
import os
import signal
import time

import msgspec

_STATE, _START = 0, 19
_POLL_SECONDS = 0.02


class ProcessMark(msgspec.Struct, frozen=True):
    """A process of this machine: its number, and when it was started, in the kernel's ticks since the machine was."""

    pid: int
    start: int


def mark_of(pid: int) -> ProcessMark | None:
    """The mark of a running process; None when it has ended, or where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; the state and all else follow the last one.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] == b"Z" else ProcessMark(pid, int(fields[_START]))


def is_alive(mark: ProcessMark) -> bool:
    """Whether the very process still runs."""
    return mark_of(mark.pid) == mark


def end_session(mark: ProcessMark, *, seconds: float) -> bool:
    """Ends the processes of a session, by the mark of its first one, if that still runs; whether it did. They have so many seconds before they are killed."""
    if not is_alive(mark):
        return False
    deadline = time.monotonic() + seconds
    _signal(mark, signal.SIGTERM)
    while is_alive(mark) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if is_alive(mark):
        _signal(mark, signal.SIGKILL)
    return True


def _signal(mark: ProcessMark, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(mark.pid, number)
