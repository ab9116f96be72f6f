"""What the operating system says went wrong with a file, as errors of this package."""

import contextlib
import errno
from collections.abc import Iterator

from pachyderm_dagster.errors import PachydermError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def storage_errors(action: str, path: str) -> Iterator[None]:
    """Raises an OSError of the block as `storage_error` tells it."""
    try:
        yield
    except PachydermError:
        raise
    except OSError as error:
        raise storage_error(action, path, error) from error


def is_full(error: OSError) -> bool:
    """Whether a disk or a quota has no room left."""
    return error.errno in _FULL


def storage_error(action: str, path: str, error: OSError) -> StorageError:
    """The error for an `action` ("write") on `path` that failed."""
    if is_full(error):
        return StorageError("storage-full", f"cannot {action} {path}: {error.strerror}; free some space (or quota) there and try again")
    if error.errno in _DENIED:
        return StorageError("storage-denied", f"cannot {action} {path}: {error.strerror}; check the folder's owner, mode and mount")
    return StorageError("storage-failed", f"cannot {action} {path}: {error.strerror or error}; check the file system there")
