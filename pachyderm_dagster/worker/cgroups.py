"""Control groups of version 2: where one may be made, what is written into it, and whether the kernel ended something in it for want of memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

_PERIOD_MICROSECONDS = 100_000
_LEAST_QUOTA = 1_000
_WAY_OUT = "start it with `systemd-run --user --scope`, or as root outside of a container"


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
    """A control group below which others can be made, and what can be limited in them."""

    folder: str
    controllers: frozenset[str]


def find_parent(mounts: str, membership: str, read_text: Callable[[str], str | None], may_write: Callable[[str], bool]) -> Parent | str:
    """Where the groups of workers can be: beside this process's own, since one that holds processes cannot have limited groups below it; or why they cannot be.

    Args:
        mounts: /proc/self/mountinfo.
        membership: /proc/self/cgroup.
        may_write: whether this process may write to a file or folder.
    """
    mounted = [line.split() for line in mounts.splitlines() if " - cgroup2 " in line]
    own = next((line.removeprefix("0::") for line in membership.splitlines() if line.startswith("0::")), None)
    if not mounted or own is None:
        return "this machine has no control groups of version 2"
    root, folder = mounted[0][3], mounted[0][4]
    inside = own.removeprefix(root) if root != "/" else own
    parent = f"{folder}{os.path.dirname(inside)}".rstrip("/")
    controllers = frozenset((read_text(f"{parent}/cgroup.subtree_control") or "").split())
    if not controllers & {"memory", "cpu"}:
        return f"the control group {parent} gives neither memory nor cpu to those below it; {_WAY_OUT}"
    # To move a process, the group above both its old and its new one must be writable.
    if not may_write(parent) or not may_write(f"{parent}/cgroup.procs"):
        return f"the control group {parent} belongs to somebody else; {_WAY_OUT}"
    return Parent(parent, controllers)


def find_problem(limits: Limits, found: Parent | str) -> str | None:
    """Why these limits cannot be kept here; None where they can."""
    if isinstance(found, str):
        return found
    missing = sorted(limits.controllers - found.controllers)
    return f"the control group {found.folder} does not give {' and '.join(missing)} to those below it; {_WAY_OUT}" if missing else None


def limit_files(limits: Limits) -> dict[str, str]:
    """What is written into a new group, by file, in this order. No swap comes to the memory; where that ends, all of the group is ended, not one process."""
    files: dict[str, str] = {}
    if limits.memory:
        files |= {"memory.max": str(limits.memory), "memory.swap.max": "0", "memory.oom.group": "1"}
    if limits.cpu:
        files["cpu.max"] = f"{max(_LEAST_QUOTA, round(limits.cpu * _PERIOD_MICROSECONDS))} {_PERIOD_MICROSECONDS}"
    return files


def count_oom_kills(folder: str) -> int:
    """How many processes of a group the kernel has ended for want of memory; 0 where it does not tell."""
    try:
        with open(f"{folder}/memory.events", encoding="utf-8") as file:
            events = dict(line.split() for line in file)
    except OSError:
        return 0
    return int(events.get("oom_kill", 0))
