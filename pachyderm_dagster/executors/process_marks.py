"""Knows a process again after its parent died: its number is given to others, its number with the time at which it was started is not."""

import contextlib
import functools
import os
import signal
import time

import msgspec

from pachyderm_dagster.kernel import START, STATE, find_stat

_POLL_SECONDS = 0.02


class ProcessMark(msgspec.Struct, frozen=True):
    """A process: its number, and when it was started, in the kernel's ticks since the machine was.

    Args:
        place: where that number means this process: the boot of a machine and the PID namespace. Empty: here, wherever that is.
    """

    pid: int
    start: int
    place: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it can be seen from here, if it runs. A home may be shared by machines and containers."""
        return self.place in ("", _place())


def mark_of(pid: int) -> ProcessMark | None:
    """The mark of a running process; None when it has ended, or where there is no /proc."""
    start = _find_start(pid)
    return None if start is None else ProcessMark(pid, start, _place())


def is_alive(mark: ProcessMark) -> bool:
    """Whether the very process still runs; False of one that cannot be seen from here."""
    return mark.is_here and _find_start(mark.pid) == mark.start


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


def _find_start(pid: int) -> int | None:
    stat = find_stat(pid)
    return None if stat is None or stat[STATE] == b"Z" else int(stat[START])


@functools.cache
def _place() -> str:
    """Empty where the kernel does not say; it never changes for a process."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _signal(mark: ProcessMark, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(mark.pid, number)
