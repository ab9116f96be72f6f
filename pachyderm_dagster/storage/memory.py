"""What a process keeps of memory that it has freed."""

import pyarrow as pa


def allocate_plainly() -> None:
    """Has Arrow take its memory from the C library from now on, in all of this process: its own allocator keeps what other threads freed, for ever."""
    pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Gives the system what the C library keeps of memory that was freed: of it large work leaves a lot, in pieces between others."""
    pa.system_memory_pool().release_unused()
