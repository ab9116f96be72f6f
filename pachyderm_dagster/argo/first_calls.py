"""Starts a process that uses this one's memory until its program runs (see vfork(2)): a fork would copy that, and give the copy back.

Such a process cannot run Python, which would go on in the memory of both. What it calls of the C library is written down before it starts: a context for each
call, which goes on with that of the next one (makecontext(3)). The process begins with the first; this one waits until its program runs, or until it has ended.
"""

import ctypes
import mmap
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

from pachyderm_dagster.prctl import check_result

_CLONE_VM, _CLONE_VFORK = 0x00000100, 0x00004000
_CONTEXT_BYTES, _STACK_BYTES = 1 << 13, 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class Call(NamedTuple):
    """A call of the C library: its name, and numbers, bytes, or objects of ctypes, which are handed by their addresses."""

    name: str
    arguments: Sequence[Any] = ()


class Started(NamedTuple):
    """What came of a start.

    Attributes:
        pid: of the process.
        problem: the number of the last error of a call that came before the program; 0 when there was none.
        refused: the number of the last error of a program, when none runs; 0 when one does.
    """

    pid: int
    problem: int
    refused: int


class _Stack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


class _Context(ctypes.Structure):
    """The beginning of a `ucontext_t`, which is the same everywhere; no machine's is longer than this one."""

    _fields_ = (("flags", ctypes.c_ulong), ("next", ctypes.c_void_p), ("stack", _Stack), ("rest", ctypes.c_char * (_CONTEXT_BYTES - 64)))


class FirstCalls:
    """Starts processes, one after the other, for one thread.

    Raises:
        OSError: where the C library has no contexts.
    """

    def __init__(self) -> None:
        if not hasattr(_libc, "makecontext"):
            raise OSError("the C library has no makecontext; glibc has it")
        self._written: list[tuple[_Context, int]] = []
        self._errors = (ctypes.c_int * 2)()
        _libc.makecontext.restype = None
        self._errno_at = getattr(_libc, "__errno_location")
        self._errno_at.restype = ctypes.c_void_p
        _libc.clone.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

    def start(self, namespaces: int, before: Sequence[Call], programs: Sequence[Call]) -> Started:
        """Starts a process in new namespaces, which makes some calls and then becomes the first of the programs (each an `execve`) that can be run.

        Raises:
            OSError: no process was started.
        """
        errno = ctypes.c_void_p(self._errno_at())
        calls = (
            *before,
            Call("memcpy", (ctypes.c_void_p(ctypes.addressof(self._errors)), errno, 4)),
            *programs,
            Call("memcpy", (ctypes.c_void_p(ctypes.addressof(self._errors) + 4), errno, 4)),
            Call("_exit", (1,)),
        )
        first = self._write(calls)
        self._errors[:] = [0, 0]
        ctypes.set_errno(0)
        top = self._written[0][1] + _STACK_BYTES
        pid = _libc.clone(_address("setcontext"), top, _CLONE_VM | _CLONE_VFORK | namespaces | signal.SIGCHLD, first)
        check_result(pid, "clone")
        return Started(pid, *self._errors)

    def _write(self, calls: Sequence[Call]) -> int:
        """Writes the calls down; the address of the first one's context. The first place of all is for what begins with that."""
        while len(self._written) <= len(calls):
            self._written.append(_new_place())
        following: int | None = None
        for (context, stack), call in zip(self._written[len(calls) : 0 : -1], reversed(calls), strict=True):
            context.next, context.stack.start, context.stack.size = following, stack, _STACK_BYTES
            arguments = [ctypes.c_long(one) if isinstance(one, int) else one for one in call.arguments]
            _libc.makecontext(ctypes.byref(context), ctypes.c_void_p(_address(call.name)), len(arguments), *arguments)
            following = ctypes.addressof(context)
        assert following is not None
        return following


def _new_place() -> tuple[_Context, int]:
    memory = mmap.mmap(-1, _CONTEXT_BYTES + _STACK_BYTES)
    context = _Context.from_buffer(memory)
    check_result(_libc.getcontext(ctypes.byref(context)), "getcontext")
    return context, ctypes.addressof(context) + _CONTEXT_BYTES


def _address(name: str) -> int:
    found = ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value
    assert found is not None
    return found
