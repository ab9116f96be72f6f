"""The root of a pod: what it has of this machine, a `/proc` of its own, and the start of its program in it."""

import ctypes
import errno
import os
import signal
import socket
from collections.abc import Mapping, Sequence

from pachyderm_dagster.argo.bound_ports import stopping
from pachyderm_dagster.argo.first_calls import Call, FirstCalls, Started
from pachyderm_dagster.argo.pod_orders import Order
from pachyderm_dagster.worker import linux

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix")
"""Entries of `/` that pods see and cannot write."""
SYSTEM_FOLDER = "/.system"
"""Where they are mounted read-only, and other folders that all pods see."""
_TRIAL = "/.trial"
_OWN_FOLDERS = ("tmp", "proc", "dev", "sys", "root", "home", "var", "run", "mnt")


class Shared:
    """What all pods have of the host.

    Args:
        prefixes: further folders below `SYSTEM_FOLDER`, by their own names.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.prefixes = prefixes
        self.system = [(name, os.readlink(f"/{name}") if os.path.islink(f"/{name}") else None) for name in SYSTEM if os.path.lexists(f"/{name}")]
        # What the host ignores of signals, programs would inherit.
        self.ignored = [int(number) for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
        self.nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def start(order: Order, shared: Shared, first_calls: FirstCalls, log: int, output: int, host: socket.socket | None) -> tuple[int, str]:
    """Starts a pod: the number of its first process, and why its program does not run, or is not to run, if there is such a reason.

    This thread is then in the pod's root; whoever called takes it back to its own mounts, also after an error.

    Args:
        host: is given what gets its stopped calls, if it has ports.

    Raises:
        OSError, ValueError: nothing was started.
    """
    started, programs = _start(order, shared, first_calls, log, output, host)
    if started.problem:
        return started.pid, f"{order.argv[0]}: it cannot be kept apart: {os.strerror(started.problem)}"
    return started.pid, _told(order.argv[0], started.refused, programs) if started.refused else ""


def try_out(shared: Shared, first_calls: FirstCalls) -> None:
    """Makes a pod without a program, before any other: what the system forbids would be known of the others only when their programs run. As `start`.

    Raises:
        OSError: there can be no pods.
    """
    os.mkdir(_TRIAL)
    started, _ = _start(Order(0, _TRIAL, ("/missing",)), shared, first_calls, shared.nothing, shared.nothing, None)
    os.waitpid(started.pid, 0)
    if started.problem:
        raise OSError(started.problem, os.strerror(started.problem))


def _start(order: Order, shared: Shared, first_calls: FirstCalls, log: int, output: int, host: socket.socket | None) -> tuple[Started, Sequence[Call]]:
    linux.unshare(linux.CLONE_NEWNS)
    _enter_root(order, shared)
    os.chdir(order.working_dir)
    argv, environment = _texts(order.argv), _texts([f"{name}={value}" for name, value in order.environment.items()])
    programs = [Call("execve", (os.fsencode(path), argv, environment)) for path in _programs(order.argv[0], order.environment)]
    before = [
        *(Call("signal", (number, signal.SIG_DFL)) for number in shared.ignored),
        Call("setsid"),
        *(Call("dup2", pair) for pair in ((shared.nothing, 0), (output, 1), (log, 2))),
        # Only a process of the pod can mount its processes, and in a user namespace only while those of the host are seen somewhere: in the old root.
        Call("mount", (b"proc", b"/proc", b"proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, None)),
        # Stacked on the new root, which is then below it, it needs no folder; see pivot_root(2).
        Call("umount2", (b"/", linux.MNT_DETACH)),
        *(stopping(host) if host is not None else ()),
    ]
    return first_calls.start(linux.CLONE_NEWPID, before, programs), programs


def _told(program: str, refused: int, programs: Sequence[Call]) -> str:
    if refused == errno.ENOENT:
        return f"the program {program!r} is not on this machine"
    return f"{os.fsdecode(programs[-1].arguments[0])}: {os.strerror(refused)}"


def _texts(texts: Sequence[str]) -> "ctypes.Array[ctypes.c_char_p]":
    found = [os.fsencode(text) for text in texts]
    if any(b"\0" in text for text in found):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(found) + 1))(*found)


def _programs(program: str, environment: Mapping[str, str]) -> list[str]:
    """Where a program may be, as `execvp` looks for it; where nothing is is left out, unless that is everywhere."""
    if "/" in program:
        return [program]
    paths = [f"{folder or '.'}/{program}" for folder in environment.get("PATH", os.defpath).split(":")]
    return [path for path in paths if os.path.lexists(path)] or paths[:1]


def _enter_root(order: Order, shared: Shared) -> None:
    """Makes the pod's root, but for its `/proc`, that of this thread; the old one is left stacked on it."""
    linux.mount(order.root, order.root, flags=linux.MS_BIND | linux.MS_REC)
    os.chdir(order.root)
    for name in _OWN_FOLDERS:
        _make_folder(name)
    os.chmod("tmp", 0o1777)
    for name, link in shared.system:
        if link is not None:
            try:
                os.symlink(link, name)
            except FileExistsError:
                continue
        else:
            _make_folder(name)
            linux.mount(f"{SYSTEM_FOLDER}/{name}", name, flags=linux.MS_BIND | linux.MS_REC)
    for prefix in shared.prefixes:
        os.makedirs(order.root + prefix, exist_ok=True)
        linux.mount(SYSTEM_FOLDER + prefix, order.root + prefix, flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("/dev", "dev", flags=linux.MS_BIND | linux.MS_REC)
    for source, target, writable in order.folders:
        _bind(source, order.root + target, writable=writable)
    linux.pivot_root(".", ".")


def _bind(source: str, target: str, *, writable: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    if not writable:
        linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        return
