"""Control groups, of either version: a cluster's daemons and pods are in one tree, so that taking it down finds each process."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError

DAEMONS = "daemons"
KILLING_SECONDS = 20
_WEIGHTS = {"cpu.shares": 1024, "cpu.weight": 100}
"""Of one processor, in either version of control groups."""


def hierarchies(mounts: str) -> list[Path]:
    """Where control groups are mounted, each hierarchy once: many in version 1, one in version 2; `mounts` is what /proc/self/mounts holds."""
    found: dict[str, Path] = {}
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            controllers = ",".join(sorted(set(options.split(",")) - {"rw", "ro", "relatime", "nosuid", "nodev", "noexec"}))
            found.setdefault(f"{kind}:{controllers}", Path(target))
    return list(found.values())


def make_groups(name: str) -> None:
    """The tree of a cluster in each hierarchy; the kubelet refuses a root of its own that is not there."""
    for hierarchy in _hierarchies():
        if (hierarchy / "cgroup.controllers").exists():
            _pass_controllers_down(hierarchy)
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        if (hierarchy / "cgroup.controllers").exists():
            _pass_controllers_down(group)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
        for setting, weight in _WEIGHTS.items():
            if (group / setting).exists():
                # As what the kubelet gives the pods of a machine that it has to itself, and not as one process of whatever else runs here.
                (group / setting).write_text(str(weight * (os.cpu_count() or 1)))
    for group in _daemons(name):
        group.parent.mkdir(exist_ok=True)


def daemon_files(name: str) -> list[Path]:
    """Where a daemon of a cluster writes its pid before anything else."""
    return _daemons(name)


def processes_of(name: str) -> set[int]:
    """All of a cluster that run, pods' too."""
    return {pid for hierarchy in _hierarchies() for group in _tree(hierarchy / name) for pid in _processes(group)}


def freeze(name: str, pod: str, *, is_frozen: bool) -> None:
    """Stops or goes on with the processes of a pod, by its uid."""
    groups = [group for hierarchy in _hierarchies() for group in _tree(hierarchy / name) if group.name == f"pod{pod}"]
    for group in groups:
        for setting, values in (("freezer.state", ("THAWED", "FROZEN")), ("cgroup.freeze", ("0", "1"))):
            if (group / setting).exists():
                (group / setting).write_text(values[is_frozen])
    if not groups:
        raise ClusterError(f"pod {pod} has no control group in those of {name}")


def end_group(name: str) -> None:
    """Kills all of a cluster's processes and removes its groups.

    A process may start another before it is killed, so that it is done until none is left.
    """

    def none_left() -> bool:
        left = processes_of(name)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    if not wait_until(none_left, seconds=KILLING_SECONDS):
        raise ClusterError(f"processes {sorted(processes_of(name))} do not end though they were killed; look at /proc/PID/stack, then try again")
    for hierarchy in _hierarchies():
        for group in _tree(hierarchy / name):
            # A killed process is in its group until its parent has asked for it.
            if not wait_until(lambda group=group: _removed(group), seconds=KILLING_SECONDS):  # type: ignore[misc]
                raise ClusterError(f"the control group {group} cannot be removed; see what is in its cgroup.procs, then try again")


def _hierarchies() -> list[Path]:
    return hierarchies(Path("/proc/self/mounts").read_text())


def _daemons(name: str) -> list[Path]:
    # One hierarchy is enough to find them, and limits nothing: where version 2 has processes, it wants them in leaves.
    return [min(_hierarchies(), key=_limits) / name / DAEMONS / "cgroup.procs"]


def _limits(hierarchy: Path) -> tuple[bool, str]:
    return (hierarchy.name not in ("unified", "systemd"), str(hierarchy))


def _pass_controllers_down(group: Path) -> None:
    for controller in (group / "cgroup.controllers").read_text().split():
        # One that cannot be passed on is missed by the kubelet, which says so.
        with contextlib.suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _tree(group: Path) -> Iterator[Path]:
    """A group and those in it, leaves first."""
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _processes(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except (FileNotFoundError, OSError):
        return []


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
