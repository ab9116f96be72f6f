"""A process that runs pods: each in a root of its own, with the machine's programs read-only, and processes of its own.

It lives in the private namespaces of `worker/sandbox.py`, whose guard ends all user code when it dies. It reads orders, a line of JSON each (`pod_orders`),
from its standard input and answers on its standard output. `python -m pachyderm_dagster.argo.pod_host SCRATCH network|no-network [LOCK]`.
"""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys

from pachyderm_dagster.argo.pod_orders import READY, Answer
from pachyderm_dagster.argo.pod_root import SYSTEM, SYSTEM_FOLDER, Shared
from pachyderm_dagster.argo.running_pods import RunningPods
from pachyderm_dagster.worker import linux, sandbox

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def main(scratch: str, network: str, lock: str = "") -> int:
    """Runs pods until there are no more orders, with a lock when no other host holds it any more."""
    if lock:
        _take_lock(lock)
    found = sandbox.enter(scratch)
    if found.problem is not None:
        return _unable(found.problem)
    # Python ignores them, and its pods would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        pods = RunningPods(Shared(_prepare(with_network=network == "network")))
    except OSError as error:
        return _unable(f"pods cannot be made here: {error.strerror or error}")
    pods.run()
    return 0


def _take_lock(path: str) -> None:
    """Takes the lock, which is held until the last process of this host is gone, its guard too; pods do not get it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)


def _unable(problem: str) -> int:
    os.write(1, Answer(READY, problem=problem).line())
    return 1


def _prepare(*, with_network: bool) -> list[str]:
    """Makes what all pods share: the machine's programs, once more and read-only, and a network with nothing but this machine's own address.

    What is returned are the folders of Python among them that are in none of `SYSTEM`.
    """
    os.mkdir(SYSTEM_FOLDER)
    for name in SYSTEM:
        _share(f"/{name}")
    shared = [prefix for prefix in _folders_of_python() if _share(prefix)]
    # Each pod has a copy of all that is mounted here: what no pod sees is not to be copied.
    with contextlib.suppress(OSError):
        linux.detach("/sys")
    if not with_network:
        linux.unshare(linux.CLONE_NEWNET)
        _raise_loopback()
    return shared


def _folders_of_python() -> list[str]:
    """Those that are in none of `SYSTEM`; one that lies in the other is shared with it."""
    found = [prefix for prefix in {sys.base_prefix, sys.prefix} if prefix.strip("/").partition("/")[0] not in SYSTEM]
    return [prefix for prefix in found if not any(prefix.startswith(f"{other}/") for other in found)]


def _share(path: str) -> bool:
    if not os.path.isdir(path) or os.path.islink(path):
        return False
    target = SYSTEM_FOLDER + path
    os.makedirs(target)
    linux.mount(path, target, flags=linux.MS_BIND | linux.MS_REC)
    linux.mount(path, target, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)
    return True


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
