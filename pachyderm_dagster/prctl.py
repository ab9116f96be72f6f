"""Has a process end with its parent, which takes a call of Linux that Python lacks."""

import ctypes
import os

from pachyderm_dagster.kernel import is_linux

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


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
