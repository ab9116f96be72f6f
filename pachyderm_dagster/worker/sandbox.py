"""Makes `/pfs` real: a private mount namespace whose root is the machine's own plus `/pfs`, entered once a worker.

The new root is a small tmpfs. Every top-level entry of `/` is bound into it, `/pfs` is bound from a folder of the caller, and pivot_root makes it the root of
this process. Nothing is made on the machine's own root, which may be read-only, and parallel workers never see each other's `/pfs`. As root this needs
CAP_SYS_ADMIN; otherwise a user namespace with the caller's own ids gives it.

The worker goes on as a child, because a half-entered user namespace cannot be left and only a child enters a process namespace. The process that was called
stays behind as its guard: when the worker dies, however it dies, the guard ends the user code that it leaves. Where possible the worker is also process 1 of a
process namespace, which ends with it even if the guard is killed too.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pachyderm_dagster.kernel import find_text, is_linux
from pachyderm_dagster.prctl import end_with_parent
from pachyderm_dagster.worker import linux
from pachyderm_dagster.worker.mounts import bind_entries
from pachyderm_dagster.worker.processes import end_descendants

PFS = "/pfs"
FIRST_PROCESS = 1
_OLD_ROOT = ".host"
_NO_NAMESPACE = 0
# Most protective first: a process namespace needs a fresh /proc, which some containers forbid; without root only a user namespace gives the right to mount.
_ATTEMPTS = (
    linux.CLONE_NEWNS | linux.CLONE_NEWPID,
    linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID,
    linux.CLONE_NEWNS,
    linux.CLONE_NEWUSER | linux.CLONE_NEWNS,
)
# What forbids user namespaces, the value that does it, and the command that allows them again.
_SWITCHES = (
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000"),
)
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
_READY = b"+"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where user code finds its files.

    Attributes:
        root: the folder that user code sees: `/pfs`, or `folder` where that could not be made.
        folder: the same folder under its name on the machine; the worker renames entries in and out of it.
        problem: why `/pfs` is not real, and what to do; None where it is.
    """

    root: str
    folder: str
    problem: str | None


def enter(scratch: str, *, in_memory: bool = False, at_end: Callable[[], None] = lambda: None) -> Sandbox:
    """Goes on in a child that has `/pfs` for its own, bound from `scratch`/pfs, with `/` as working folder; where the system forbids it, in a plain child.

    With `in_memory`, where `/pfs` can be made, it and what lies beside its folder is in memory.

    Call it once, before any thread is started. The caller stays behind as the child's guard: it holds no standard input or output any more, ends when the child
    ends, and on SIGTERM ends the child and all user code first. Whichever way it ends, what it calls last is `at_end`.
    """
    scratch = os.path.realpath(scratch)
    volume = os.path.join(scratch, "memory") if in_memory else scratch
    folder = os.path.join(volume, "pfs")
    os.makedirs(folder, exist_ok=True)
    # Before there is a child: an end that is asked for while one starts must not leave it behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: _end_all(number, at_end))
    problem = _find_obstacle(scratch)
    for flags in () if problem else _ATTEMPTS:
        problem = _go_on_in_child(flags, scratch, at_end, in_memory=in_memory)
        if problem is None:
            return Sandbox(PFS, folder, None)
    _go_on_in_child(_NO_NAMESPACE, scratch, at_end, in_memory=False)
    return Sandbox(folder, folder, _advice(problem or "", read_text=find_text))


def _find_obstacle(scratch: str) -> str | None:
    if not is_linux():
        return f"{sys.platform} has no mount namespaces"
    if scratch == PFS or scratch.startswith(PFS + "/"):
        return f"the scratch folder {scratch} lies below {PFS} itself: move PACHYDERM_HOME"
    return None


def _go_on_in_child(flags: int, scratch: str, at_end: Callable[[], None], *, in_memory: bool) -> str | None:
    """Returns None in the child that entered the namespaces; in the caller it returns only when that failed, and says why."""
    report_reader, report = os.pipe()
    start, start_writer = os.pipe()
    if is_linux():
        linux.adopt_orphans()
    first = os.fork()
    if first == 0:
        os.close(report_reader)
        os.close(start_writer)
        try:
            _enter_namespaces(flags, scratch, in_memory=in_memory)
        except OSError as error:
            os.write(report, (error.strerror or str(error)).encode())
            os._exit(1)
        os.write(report, _READY)
        os.close(report)
        _wait_for_guard(start)
        return None
    os.close(report)
    os.close(start)
    said = os.read(report_reader, 4096)
    os.close(report_reader)
    if said == _READY:
        if flags & linux.CLONE_NEWPID:
            # Until the process between is gone, the worker has another parent than its guard.
            os.waitpid(first, 0)
        os.write(start_writer, _READY)
        _guard(at_end)
    os.close(start_writer)
    end_descendants()
    return said.decode() or "the system ended the process that tried"


def _enter_namespaces(flags: int, scratch: str, *, in_memory: bool) -> None:
    if flags == _NO_NAMESPACE:
        return
    user, group = os.geteuid(), os.getegid()
    linux.unshare(flags)
    if flags & linux.CLONE_NEWUSER:
        _write_text("/proc/self/setgroups", "deny")
        _write_text("/proc/self/uid_map", f"{user} {user} 1")
        _write_text("/proc/self/gid_map", f"{group} {group} 1")
    if flags & linux.CLONE_NEWPID and os.fork():
        # Only a child enters the process namespace; the guard, its nearest adopter, becomes its parent.
        os._exit(0)
    _build_root(scratch, with_proc=bool(flags & linux.CLONE_NEWPID), in_memory=in_memory)


def _wait_for_guard(start: int) -> None:
    guarded = os.read(start, 1) == _READY
    os.close(start)
    if not guarded:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if is_linux():
        # The first process of a namespace takes its user code along; any other must be left the time to end it.
        end_with_parent(signal.SIGKILL if os.getpid() == FIRST_PROCESS else signal.SIGTERM)
        linux.adopt_orphans()


def _end_all(number: int, at_end: Callable[[], None]) -> NoReturn:
    end_descendants()
    at_end()
    os._exit(128 + number)


def _guard(at_end: Callable[[], None]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Closed, so that whoever reads the worker's answers sees their end when the worker ends.
    os.close(0)
    os.close(1)
    code = os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])
    end_descendants()
    at_end()
    if code < 0:
        # Ends as the worker did, so that its end can be told from outside.
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _build_root(scratch: str, *, with_proc: bool, in_memory: bool) -> None:
    """Builds the new root and moves into it; later mounts of the machine still arrive (MS_SLAVE), none of these leave. The working folder is then `/`."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    volume = scratch
    if in_memory:
        volume = os.path.join(scratch, "memory")
        linux.mount("tmpfs", volume, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
        os.mkdir(os.path.join(volume, "pfs"))
    new_root = os.path.join(scratch, "root")
    os.makedirs(new_root, exist_ok=True)
    linux.mount("tmpfs", new_root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    old_root = os.path.join(new_root, _OLD_ROOT)
    os.mkdir(old_root)
    linux.pivot_root(new_root, old_root)
    os.chdir("/")
    bind_entries("/" + _OLD_ROOT, "/", leave_out=PFS.removeprefix("/"))
    os.mkdir(PFS)
    linux.mount("/" + _OLD_ROOT + os.path.join(volume, "pfs"), PFS, flags=linux.MS_BIND)
    if with_proc:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.detach("/" + _OLD_ROOT)
    os.rmdir("/" + _OLD_ROOT)


def _advice(problem: str, *, read_text: Callable[[str], str | None]) -> str:
    """The problem, and what would lift it here."""
    commands = [command for path, value, command in _SWITCHES if (read_text(path) or "").strip() == value]
    if not is_linux():
        remedy = "run it on Linux or in a container to have /pfs"
    elif commands:
        remedy = "to allow it: " + "; ".join(commands)
    elif any(read_text(mark) is not None for mark in _CONTAINER_MARKS):
        remedy = "to allow it, start the container with `--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
    else:
        remedy = "to allow it, run as root or enable unprivileged user namespaces"
    return f"/pfs cannot be made here ({problem}); {remedy}"


def _write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
