"""The Linux calls that Python 3.11 lacks: unshare, mount, umount2, pivot_root, prctl; the numbers are those of the kernel's headers."""

import ctypes
import errno
import os

from pachyderm_dagster.kernel import is_linux
from pachyderm_dagster.prctl import check_result

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MNT_DETACH = 2

_PR_SET_CHILD_SUBREAPER = 36
# glibc has no wrapper for pivot_root; every architecture younger than 2011 shares one number.
_PIVOT_ROOT_NUMBER = {"x86_64": 155, "i686": 217, "armv7l": 218, "ppc64le": 203, "s390x": 217}.get(os.uname().machine, 41)

_libc = ctypes.CDLL(None, use_errno=True)
if is_linux():
    # Said once, so that calls make no objects for it.
    _libc.unshare.argtypes = (ctypes.c_int,)
    _libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
    _libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    _libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def unshare(flags: int) -> None:
    """Moves this process (with CLONE_NEWPID: its next children) into new namespaces."""
    check_result(_libc.unshare(flags), "unshare")


def enter_namespace(descriptor: int, kind: int) -> None:
    """Moves this process (of a process namespace: its next children) into the namespace that the descriptor is of; see setns(2)."""
    check_result(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mounts `source` on `target`; see mount(2). An error names both."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        flags,
        None if data is None else data.encode(),
    )
    if result < 0:
        check_result(result, f"mount {source} on {target}")


def detach(target: str) -> None:
    """Takes a mount and all below it out of the tree at once."""
    check_result(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Makes the mount `new_root` the root of this namespace; the old root is then found at `put_old`."""
    check_result(_libc.syscall(ctypes.c_long(_PIVOT_ROOT_NUMBER), os.fsencode(new_root), os.fsencode(put_old)), f"pivot_root to {new_root}")


def set_file_ids(user: int, group: int) -> None:
    """Has this thread alone reach files as that user and group do; root's rights over files are gone until it is 0 and 0 again."""
    # Neither call tells whether it worked; asking with an id that cannot be gives the one in force.
    _libc.setfsgid(group)
    _libc.setfsuid(user)
    if (_libc.setfsuid(-1), _libc.setfsgid(-1)) != (user, group):
        raise PermissionError(errno.EPERM, f"files cannot be reached as user {user} and group {group}")


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants whose own parent ended, so that it can find and end them."""
    check_result(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl PR_SET_CHILD_SUBREAPER")
