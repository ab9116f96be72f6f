"""Copies a record that is an SQLite file, before something is done to it that nothing takes back."""

import contextlib
import os
import sqlite3
from pathlib import Path

from pachyderm_dagster.errors import StorageError


def copy_record(path: Path, suffix: str) -> Path:
    """Copies the file as it is, with what its write-ahead log holds, and returns where: beside it, with `suffix` behind its name; whole or not there.

    Who calls it keeps writers away until what the copy is for is done: a change between would be in neither.

    Raises:
        StorageError: `home-unusable`, when the copy cannot be written.
    """
    copy = path.with_name(f"{path.name}.{suffix}")
    partial = path.with_name(f"{copy.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        _sync(partial)
        os.replace(partial, copy)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            "home-unusable", f"the copy of the record that is kept, {copy}, cannot be written: {error}; make room for it and try again"
        ) from error
    return copy


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
