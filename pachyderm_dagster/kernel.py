"""What Linux knows of processes: who their parents are, when they were started, and which end with their parent."""

import ctypes
import os
import sys

STATE, PARENT, START = 0, 1, 19
"""Places in what `find_stat` gives: a letter, the parent's number, and the kernel's ticks since the machine was started."""
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def is_linux() -> bool:
    """Whether the calls of Linux exist here."""
    return sys.platform == "linux"


def find_stat(pid: int) -> list[bytes] | None:
    """The fields of `/proc/PID/stat` behind the name; None when the process has ended, or where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; all else follows the last one.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def end_with_parent(signal_number: int) -> None:
    """Has the kernel send this signal to this process when the thread that forked it ends; does nothing where that is not Linux.

    A parent that ended before is not noticed: whoever may have lost it already compares `os.getppid()` with what it was.
    """
    if is_linux():
        check_result(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def check_result(result: int, what: str) -> None:
    """Raises the error of a call of libc that says with a number below 0 that it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
