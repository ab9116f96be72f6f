"""What Linux tells, of processes above all: who their parents are, and when they were started."""

import sys

STATE, PARENT, START = 0, 1, 19
"""Places in what `find_stat` gives: a letter, the parent's number, and the kernel's ticks since the machine was started."""
MOST_USER_NUMBER = 2**32 - 2
"""The number above it says "none" to calls that take one."""


def is_linux() -> bool:
    """Whether the calls of Linux exist here."""
    return sys.platform == "linux"


def find_text(path: str) -> str | None:
    """What a file says that the kernel may have made; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def find_stat(pid: int) -> list[bytes] | None:
    """The fields of `/proc/PID/stat` behind the name; None when the process has ended, or where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; all else follows the last one.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
