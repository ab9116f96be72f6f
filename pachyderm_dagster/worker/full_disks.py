"""What is said of a datum for whose files there is no room."""

import os

from pachyderm_dagster.errors import ExecutionError

_LEAST_BYTES = 1 << 16


def find_full(folder: str) -> ExecutionError | None:
    """Why user code failed whose folder is on a disk without room; None where there is some."""
    found = os.statvfs(folder)
    return disk_full(folder, "the code filled the disk of its files") if found.f_bavail * found.f_frsize < _LEAST_BYTES else None


def is_tight(folder: str) -> bool:
    """Whether less than half of a disk is free."""
    found = os.statvfs(folder)
    return found.f_bavail * 2 < found.f_blocks


def has_room(folder: str, size: int) -> bool:
    """Whether so many bytes are free."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= size


def disk_full(folder: str, problem: str) -> ExecutionError:
    """The error of a datum that is to blame for a full disk."""
    found = os.statvfs(folder)
    room = f"which has room for {found.f_blocks * found.f_frsize} bytes"
    return ExecutionError("disk-full", f"{problem}, {room}; give it more (resource_limits.disk, where it is a volume in memory), or let a datum be smaller")
