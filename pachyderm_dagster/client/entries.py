"""Files, paths and errors as fsspec has them."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from pachyderm_dagster.client.locations import Location
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.entries import DIRECTORY, FileInfo
from pachyderm_dagster.pfs.model import Commit

_NO_NAME = {"reference-invalid", "name-invalid", "path-invalid"}


def directory_entry(name: str) -> dict[str, Any]:
    """What fsspec knows of a directory that is in no commit."""
    return {"name": name, "size": 0, "type": "directory"}


def file_entry(at: Location, file: FileInfo, commit: Commit) -> dict[str, Any]:
    """What fsspec knows of a file or directory of a commit."""
    is_directory = file.type == DIRECTORY
    return {
        "name": at.name(file.path),
        "size": file.size_bytes,
        "type": "directory" if is_directory else "file",
        "hash": file.hash,
        "commit": commit.id,
        "created": commit.finished or commit.started,
    }


def is_pattern(path: str) -> bool:
    """Whether fsspec takes a path for a pattern."""
    return any(character in path for character in "*?[")


def read_slice(file: Any, start: int | None, end: int | None) -> bytes:
    """The bytes of an open file from `start` to `end`, as of a sequence."""
    first, stop, _ = slice(start, end).indices(file.size)
    file.seek(first)
    return bytes(file.read(max(stop - first, 0)))


@contextlib.contextmanager
def looking_up(path: str) -> Iterator[None]:
    """As `told_as_os_errors` for who only looks: what no file may be called is not there."""
    with told_as_os_errors(path):
        try:
            yield
        except InvalidError as error:
            if error.code not in _NO_NAME:
                raise
            raise FileNotFoundError(errno.ENOENT, str(error), path) from error


@contextlib.contextmanager
def told_as_os_errors(path: str) -> Iterator[None]:
    """Callers of a file system expect Python's own errors where there are some."""
    try:
        yield
    except NotFoundError as error:
        if error.code == "object-not-found":
            raise
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    except InvalidError as error:
        if error.code != "not-a-file":
            raise
        raise IsADirectoryError(errno.EISDIR, str(error), path) from error
