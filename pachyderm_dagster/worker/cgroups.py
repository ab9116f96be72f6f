"""Control groups of both versions: where one may be made, what is written into it, whether the kernel ended something in it for want of memory, its end.

In version 2 one group has all controllers. In version 1 each has its own tree, often shared by some, so that limits may need several groups; a system may have
both, and then a controller is in one of them.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.errors import ExecutionError

_CONTROLLERS = ("memory", "cpu")
_PERIOD_MICROSECONDS = 100_000
_LEAST_QUOTA = 1_000
_AS_ROOT = "as root outside of a container"
_WAY_OUT = f"start it with `systemd-run --user --scope`, or {_AS_ROOT}"
# The kernel takes a moment to forget a process that was killed.
_END_SECONDS = 2.0
_LOOK_SECONDS = 0.01


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What user code of one worker may use at most. 0: no limit."""

    memory: int = 0
    cpu: float = 0.0

    @property
    def controllers(self) -> frozenset[str]:
        """What the kernel needs for them."""
        return frozenset(name for name, limit in (("memory", self.memory), ("cpu", self.cpu)) if limit)


@dataclass(frozen=True, slots=True)
class Parent:
    """A control group below which others can be made, and the version of its tree."""

    folder: str
    version: int


def find_parents(mounts: str, membership: str, read_text: Callable[[str], str | None], may_write: Callable[[str], bool]) -> Mapping[str, Parent | str]:
    """Where the groups of workers can be, by controller, or why they cannot.

    Args:
        mounts: /proc/self/mountinfo.
        membership: /proc/self/cgroup.
        may_write: whether this process may write to a file or folder.
    """
    unified = _find_unified(mounts, membership)
    given = [] if unified is None else (read_text(f"{unified}/cgroup.subtree_control") or "").split()
    found: dict[str, Parent | str] = {}
    for controller in _CONTROLLERS:
        tree = None if controller in given else _find_tree(controller, mounts, membership)
        if tree is not None:
            found[controller] = Parent(tree, 1) if may_write(tree) else f"the control group {tree} belongs to somebody else; start it {_AS_ROOT}"
        elif unified is None:
            found[controller] = f"this machine has no control groups for {controller}"
        elif controller not in given:
            found[controller] = f"the control group {unified} does not give {controller} to those below it; {_WAY_OUT}"
        # To move a process, the group above both its old and its new one must be writable.
        elif may_write(unified) and may_write(f"{unified}/cgroup.procs"):
            found[controller] = Parent(unified, 2)
        else:
            found[controller] = f"the control group {unified} belongs to somebody else; {_WAY_OUT}"
    return found


def _find_unified(mounts: str, membership: str) -> str | None:
    """In version 2, the group above this process's own, since one that holds processes cannot have limited groups below it."""
    own = next((line.removeprefix("0::") for line in membership.splitlines() if line.startswith("0::")), None)
    for line in mounts.splitlines():
        if " - cgroup2 " in line and own is not None:
            return f"{line.split()[4]}{os.path.dirname(_inside(own, line.split()[3]))}".rstrip("/")
    return None


def _find_tree(controller: str, mounts: str, membership: str) -> str | None:
    """In version 1, this process's own group, so that what holds this process also holds those below it."""
    own = next((path for _, names, path in (line.split(":", 2) for line in membership.splitlines()) if controller in names.split(",")), None)
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        kind, _, options = what.partition(" ")
        if own is not None and kind == "cgroup" and controller in options.split()[-1].split(","):
            return f"{where.split()[4]}{_inside(own, where.split()[3])}".rstrip("/")
    return None


def _inside(path: str, root: str) -> str:
    """A group's path below the group that is mounted."""
    return path.removeprefix(root) if root != "/" else path


def choose_parents(limits: Limits, found: Mapping[str, Parent | str]) -> Mapping[Parent, frozenset[str]] | str:
    """Below which groups those for these limits are made, each with the controllers that it is for; or why the limits cannot be kept here."""
    chosen: dict[Parent, frozenset[str]] = {}
    for controller in sorted(limits.controllers):
        parent = found[controller]
        if isinstance(parent, str):
            return parent
        chosen[parent] = chosen.get(parent, frozenset()) | {controller}
    return chosen


def limit_files(limits: Limits, version: int, controllers: Collection[str]) -> dict[str, str]:
    """What is written into a new group, by file, in this order.

    No swap comes to the memory. In version 2, where it ends, all of the group is ended; in version 1 it is one process, the largest.
    """
    files: dict[str, str] = {}
    if limits.memory and "memory" in controllers:
        memory = str(limits.memory)
        if version == 2:
            files |= {"memory.max": memory, "memory.swap.max": "0", "memory.oom.group": "1"}
        else:
            files |= {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory, "memory.swappiness": "0"}
    if limits.cpu and "cpu" in controllers:
        quota = str(max(_LEAST_QUOTA, round(limits.cpu * _PERIOD_MICROSECONDS)))
        if version == 2:
            files["cpu.max"] = f"{quota} {_PERIOD_MICROSECONDS}"
        else:
            files |= {"cpu.cfs_period_us": str(_PERIOD_MICROSECONDS), "cpu.cfs_quota_us": quota}
    return files


@dataclass(frozen=True, slots=True)
class Memory:
    """What the kernel says of the memory of user code.

    Attributes:
        kills: how many of its processes were ended for want of memory.
        limit: how many bytes it may have; 0 for no limit.
    """

    kills: int
    limit: int


def out_of_memory(limit: int) -> ExecutionError:
    """Why a datum failed of which the kernel ended a process."""
    if not limit:
        problem = "the machine had no memory left, and the kernel ended the code"
        return ExecutionError("out-of-memory", f"{problem}; ask for what it takes with resource_requests.memory, or let a datum be smaller")
    problem = f"the code wanted more memory than resource_limits.memory gives it, {limit} bytes, and was ended by the kernel"
    return ExecutionError("out-of-memory", f"{problem}; give it more, or let a datum be smaller")


def count_oom_kills(folders: Iterable[str]) -> int:
    """How many processes of groups the kernel has ended for want of memory; 0 where it does not tell, as before Linux 4.13 in version 1.

    `memory.failcnt` is no substitute: it also counts what could be had by letting go of cached files.
    """
    return sum(_read_count(f"{folder}/{name}", "oom_kill") for folder in folders for name in ("memory.events", "memory.oom_control"))


def _read_count(path: str, name: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            return int(dict(line.split() for line in file).get(name, 0))
    except OSError:
        return 0


def remove_group(folder: str) -> bool:
    """Removes a group, with the groups that its processes made in it. False where something still runs in it: it is left."""
    for below in _groups_below(folder):
        remove_group(below)
    try:
        os.rmdir(folder)
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def end_groups(folders: Iterable[str]) -> None:
    """Kills what is still in groups, waits until the kernel has forgotten it, and removes them."""
    deadline = time.monotonic() + _END_SECONDS
    for folder in folders:
        while not remove_group(folder) and time.monotonic() < deadline:
            _kill_members(folder)
            time.sleep(_LOOK_SECONDS)


def _kill_members(folder: str) -> None:
    for below in _groups_below(folder):
        _kill_members(below)
    with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs", encoding="utf-8") as file:
        # 0 stands for processes that are not of this process's namespace.
        for process in {int(line) for line in file} - {0}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _groups_below(folder: str) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
