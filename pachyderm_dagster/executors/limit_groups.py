"""Makes and removes the control groups that hold user code to its limits, one a worker."""

import os
from collections.abc import Mapping

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.process_marks import ProcessMark, is_alive, mark_of
from pachyderm_dagster.kernel import find_text
from pachyderm_dagster.worker.cgroups import Limits, Parent, choose_parents, find_parents, limit_files, remove_group

_PREFIX = "pachyderm-"
# The kernel makes them with the group; a system without swap has no file for it.
_MAY_BE_MISSING = ("memory.swap.max", "memory.memsw.limit_in_bytes")


def parents_here(limits: Limits) -> Mapping[Parent, frozenset[str]] | str:
    """Below which groups of this machine those for these limits are made, each with what is limited in it; or why the limits cannot be kept."""
    mounts, membership = find_text("/proc/self/mountinfo") or "", find_text("/proc/self/cgroup") or ""
    return choose_parents(limits, find_parents(mounts, membership, find_text, lambda path: os.access(path, os.W_OK)))


def limits_problem(limits: Limits | None) -> str | None:
    """Why limits are not kept here; None where they are, or there are none."""
    found = None if limits is None else parents_here(limits)
    return found if isinstance(found, str) else None


def make_groups(limits: Limits, parents: Mapping[Parent, frozenset[str]], name: str) -> tuple[str, ...]:
    """New groups with these limits; their folders. What executors that are gone left is removed before.

    Args:
        name: another one for each worker of this process.

    Raises:
        ExecutionError: `limits-not-set`.
    """
    mark = mark_of(os.getpid())
    assert mark is not None, "there are control groups, so there is /proc"
    made: list[str] = []
    for parent, controllers in parents.items():
        _remove_left(parent)
        folder = f"{parent.folder}/{_PREFIX}{mark.pid}-{mark.start}-{name}"
        made.append(folder)
        try:
            os.mkdir(folder)
            for file, value in limit_files(limits, parent.version, controllers).items():
                _write(f"{folder}/{file}", value)
        except OSError as error:
            for one in made:
                remove_group(one)
            problem = f"resource_limits cannot be set in the control group {folder}: {error.strerror}"
            raise ExecutionError("limits-not-set", f"{problem}; remove them from the pipeline, or let the administrator delegate a group") from error
    return tuple(made)


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
