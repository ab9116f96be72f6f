"""What a process does that was just forked to be a pod: a root and a `/proc` of its own, then its program.

Imports next to nothing, and nothing late: it runs in a copy of the host (`pod_forks`), and what one pod loads the next one does not have.
"""

import errno
import os
import signal
import socket
from collections.abc import Mapping, Sequence

from pachyderm_dagster.argo.bound_ports import stop_calls
from pachyderm_dagster.argo.pod_orders import Order
from pachyderm_dagster.worker import linux

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix")
"""Entries of `/` that pods see and cannot write."""
SYSTEM_FOLDER = "/.system"
"""Where they are mounted read-only, and other folders that all pods see."""
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


def become(order: Order, shared: Shared, log: int, output: int, problem: int, host: socket.socket | None) -> None:
    """Turns this process, which was just forked, into the pod's; never returns. `host` is given what gets its stopped calls, if it has ports."""
    try:
        for number in shared.ignored:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.dup2(shared.nothing, 0)
        os.dup2(output, 1)
        os.dup2(log, 2)
        _enter_root(order, shared)
        os.chdir(order.working_dir)
        if host is not None:
            socket.send_fds(host, [b"+"], [stop_calls()])
        _execute(list(order.argv), order.environment)
    except OSError as error:
        os.write(problem, _told(order, error).encode())
    except BaseException as error:  # noqa: BLE001  nothing of this process may go on as the host
        os.write(problem, repr(error).encode())
    os._exit(1)


def _told(order: Order, error: OSError) -> str:
    if error.errno == errno.ENOENT and error.filename in (None, order.argv[0]):
        return f"the program {order.argv[0]!r} is not on this machine"
    return f"{error.filename or order.argv[0]}: {error.strerror}"


def _execute(argv: list[str], environment: Mapping[str, str]) -> None:
    """As `os.execvpe`, which would import a module in every pod."""
    program = argv[0]
    if "/" in program:
        os.execve(program, argv, environment)
    refused: OSError | None = None
    for folder in environment.get("PATH", os.defpath).split(":"):
        try:
            os.execve(f"{folder or '.'}/{program}", argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = refused or error
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


def _enter_root(order: Order, shared: Shared) -> None:
    linux.unshare(linux.CLONE_NEWNS)
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
    linux.mount("proc", "proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for source, target, writable in order.folders:
        _bind(source, order.root + target, writable=writable)
    # Stacked on the old root, which is then below it, there is no need of a folder for that; see pivot_root(2).
    linux.pivot_root(".", ".")
    linux.detach(".")
    os.chdir("/")


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
