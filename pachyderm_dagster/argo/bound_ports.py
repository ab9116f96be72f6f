"""Gives the processes of a pod other ports than they ask for: where they listen, and where they reach one another on the loopback.

The process that becomes the pod has the kernel stop its calls of `bind` and `connect`, and those of its children (seccomp); whoever holds the listener writes
another port into the address and lets the call go on. So that two pods of the same program run beside each other in one network.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

from pachyderm_dagster.argo.first_calls import Call
from pachyderm_dagster.prctl import check_result

_SECCOMP_SET_MODE_FILTER, _SECCOMP_GET_ACTION_AVAIL, _NEW_LISTENER = 1, 2, 8
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
# seccomp, bind, connect, and the architecture as audit(8) knows it.
_CALLS: Mapping[str, tuple[int, int, int, int]] = {"x86_64": (317, 49, 42, 0xC000003E), "aarch64": (277, 200, 203, 0xC00000B7)}
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NOTIFICATION, _RESPONSE = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
_MOST_ADDRESS = 28
_CLOSE_RANGE, _MOST_DESCRIPTOR = 436, (1 << 32) - 1
_HOST, _LISTENER = 3, 4
_LOOPBACK_6 = (b"\0" * 15 + b"\1", b"\0" * 10 + b"\xff\xff\x7f\0\0\1")

_MACHINE = os.uname().machine
_libc = ctypes.CDLL(None, use_errno=True)


class _Filter(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("lines", ctypes.c_char_p))


class _Vector(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """A `msghdr` of sendmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_char_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


def stopping(host: socket.socket) -> tuple[Call, ...]:
    """The calls of a process after which its calls and those of its children are stopped, and `host` is given the listener, which gets them.

    What that process has open beside its standard input and outputs is closed.

    Raises:
        OSError: where the system has no such thing.
    """
    if _MACHINE not in _CALLS:
        raise OSError(errno.ENOSYS, f"the ports of pods cannot be told apart on {_MACHINE}")
    number, bind, connect, architecture = _CALLS[_MACHINE]
    # That they are missing would otherwise be known only when the program runs.
    check_result(_libc.syscall(number, _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint(_NOTIFY))), "seccomp")
    check_result(_libc.syscall(_CLOSE_RANGE, ctypes.c_uint(_MOST_DESCRIPTOR), ctypes.c_uint(_MOST_DESCRIPTOR), 0), "close_range")
    lines = (
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, 4, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_EQUAL, 1, 0, bind),
        (_JUMP_IF_EQUAL, 0, 1, connect),
        (_RETURN, 0, 0, _NOTIFY),
        (_RETURN, 0, 0, _ALLOW),
    )
    described = _Filter(len(lines), b"".join(struct.pack("HBBI", *line) for line in lines))
    handed = struct.pack("@Niii", socket.CMSG_LEN(4), socket.SOL_SOCKET, socket.SCM_RIGHTS, _LISTENER).ljust(socket.CMSG_SPACE(4), b"\0")
    message = _Message(None, 0, ctypes.pointer(_Vector(b"+", 1)), 1, handed, len(handed), 0)
    return (
        Call("dup2", (host.fileno(), _HOST)),
        # So that it is known which number the listener gets.
        Call("syscall", (_CLOSE_RANGE, _LISTENER, _MOST_DESCRIPTOR, 0)),
        Call("syscall", (number, _SECCOMP_SET_MODE_FILTER, _NEW_LISTENER, ctypes.pointer(described))),
        Call("sendmsg", (_HOST, ctypes.pointer(message), 0)),
        Call("close", (_HOST,)),
    )


def answer_call(listener: int, ports: Mapping[int, int]) -> None:
    """Lets a call go on that was stopped, with another port where `ports` has one for it."""
    notification = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notification)
        id, pid, _, number, _, _, _, address, size, *_ = _NOTIFICATION.unpack(notification)
        # What cannot be read is for the kernel to refuse.
        _change(pid, address, min(size, _MOST_ADDRESS), ports, is_bind=number == _CALLS[_MACHINE][1])
        fcntl.ioctl(listener, _SEND, bytearray(_RESPONSE.pack(id, 0, 0, _CONTINUE)))
    except OSError as error:
        # Its process was killed meanwhile.
        if error.errno != errno.ENOENT:
            raise


def _change(pid: int, address: int, size: int, ports: Mapping[int, int], *, is_bind: bool) -> None:
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        other = other_port(os.pread(memory, size, address), ports, is_bind=is_bind)
        if other is not None:
            os.pwrite(memory, struct.pack("!H", other), address + 2)
    except OSError:
        return
    finally:
        os.close(memory)


def other_port(address: bytes, ports: Mapping[int, int], *, is_bind: bool) -> int | None:
    """The port to take in place of the one in a socket's address, as the kernel has it; None to leave it."""
    if len(address) < 8:
        return None
    (family,) = struct.unpack_from("=H", address)
    (port,) = struct.unpack_from("!H", address, 2)
    if family == socket.AF_INET:
        is_loopback = address[4] == 127
    elif family == socket.AF_INET6:
        is_loopback = address[8:24] in _LOOPBACK_6
    else:
        return None
    return ports.get(port) if is_bind or is_loopback else None
