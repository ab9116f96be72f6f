"""Makes and removes the control groups that hold user code to its limits, one a worker."""

import contextlib
import os

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.process_marks import ProcessMark, is_alive, mark_of
from pachyderm_dagster.worker.cgroups import Limits, Parent, find_parent, find_problem, limit_files

_PREFIX = "pachyderm-"
# The kernel makes them with the group; a system without swap has no file for it.
_MAY_BE_MISSING = ("memory.swap.max",)


def parent_here() -> Parent | str:
    """Where groups can be on this machine, or why not."""
    return find_parent(_read_text("/proc/self/mountinfo") or "", _read_text("/proc/self/cgroup") or "", _read_text, lambda path: os.access(path, os.W_OK))


def limits_problem(limits: Limits | None) -> str | None:
    """Why limits are not kept here; None where they are, or there are none."""
    return None if limits is None else find_problem(limits, parent_here())


def make_group(limits: Limits, parent: Parent, number: int) -> str:
    """A new group with these limits; its folder. What executors that are gone left is removed before.

    Raises:
        ExecutionError: `limits-not-set`.
    """
    mark = mark_of(os.getpid())
    assert mark is not None, "there are control groups, so there is /proc"
    _remove_left(parent)
    folder = f"{parent.folder}/{_PREFIX}{mark.pid}-{mark.start}-{number}"
    try:
        os.mkdir(folder)
        for name, value in limit_files(limits).items():
            _write(f"{folder}/{name}", value)
    except OSError as error:
        remove_group(folder)
        problem = f"resource_limits cannot be set in the control group {folder}: {error.strerror}"
        raise ExecutionError("limits-not-set", f"{problem}; remove them from the pipeline, or let the administrator delegate a group") from error
    return folder


def remove_group(folder: str) -> None:
    """Removes a group whose processes have ended. One that is not empty yet is left, and found when its executor is gone."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _remove_left(parent: Parent) -> None:
    for name in os.listdir(parent.folder):
        pid, _, rest = name.removeprefix(_PREFIX).partition("-")
        start = rest.partition("-")[0]
        if name.startswith(_PREFIX) and pid.isdigit() and start.isdigit() and not is_alive(ProcessMark(int(pid), int(start))):
            remove_group(f"{parent.folder}/{name}")


def _write(path: str, value: str) -> None:
    try:
        # Not made anew: the kernel's files are there.
        with open(path, "r+", encoding="utf-8") as file:
            file.write(value)
    except FileNotFoundError:
        if os.path.basename(path) not in _MAY_BE_MISSING:
            raise


def _read_text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None
