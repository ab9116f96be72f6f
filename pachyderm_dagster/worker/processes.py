"""Ends everything that user code started, also what left its session or lost its parent."""

import contextlib
import os
import signal

from pachyderm_dagster.kernel import PARENT, find_stat


def end_descendants() -> None:
    """Kills all descendants of this process and waits until none is left.

    A killed process hands its children to this one (the first process of a namespace, or a subreaper), so that the next round finds them. Where neither exists,
    only what still has its parent is found.
    """
    while _has_children():
        for child in find_children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        # Blocks for one of them; the others are reaped by the following rounds.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def find_children(parent: int) -> list[int]:
    """The ids of the processes whose parent is `parent`, read from /proc; empty where there is no /proc."""
    children = []
    with contextlib.suppress(FileNotFoundError):
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            stat = find_stat(pid)
            if stat is not None and int(stat[PARENT]) == parent:
                children.append(pid)
    return children


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
