"""What a process keeps of memory that it has freed."""

import ctypes

import pyarrow as pa

_MAPPED_FROM = 256 << 10
_M_MMAP_THRESHOLD = -3


def allocate_plainly() -> None:
    """Has Arrow take its memory from the C library from now on, in all of this process: its own allocator keeps what other threads freed, for ever.

    Large pieces go back when they are freed: glibc takes them from between others once a few such pieces were freed, where they leave holes.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


def give_back() -> None:
    """Gives the system what the C library keeps of memory that was freed: of it large work leaves a lot, in pieces between others."""
    pa.system_memory_pool().release_unused()
