"""Objects as files of a local folder: temporary file, fsync, hard link to the final name, fsync of the folder.

obstore's local store is not used for writing because it does not fsync.
"""

import contextlib
import datetime as dt
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.storage.objects import ObjectInfo, missing_object, object_key, parts_of, short_object
from pachyderm_dagster.storage.system_errors import storage_errors

INCOMING = "incoming"
TRASH = "trash"
_MAX_PARTS = 1024  # IOV_MAX of Linux


class FolderStore:
    """A store in the folder `root`, which the first write creates.

    Files under `incoming/` are writes under way or killed ones; nothing refers to them. Files under `trash/` are on their way out, and are still read
    until they are gone.
    """

    fork_safe = True
    time_slack = dt.timedelta(milliseconds=50)  # the kernel's clock for files moves in ticks

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        path = self._path(key)
        folder = os.path.dirname(path)
        with storage_errors("write", path):
            created = not os.path.exists(path) and self._write_and_link(path, parts_of(data))
            # Also when somebody else made it: that writer may not have come to its own fsync yet.
            _sync_folder(folder)
        return created

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        path = self._path(key)
        folder = os.path.dirname(path)
        parts = parts_of(data)
        with storage_errors("write", path):
            if _renew(path, sum(len(part) for part in parts)):
                _sync_folder(folder)
                return False
            self._write_and_link(path, parts, replace=True)
            _sync_folder(folder)
        return True

    def get(self, key: str) -> bytes:
        with self._reading(key) as descriptor:
            return _read_exactly(descriptor, key, 0, os.fstat(descriptor).st_size)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self._reading(key) as descriptor:
            return _read_exactly(descriptor, key, offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for folder, _, names in os.walk(self._path(prefix)):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue  # deleted, or moved out of incoming/, since the folder was read
                key = os.path.relpath(path, self._root).replace(os.sep, "/")
                yield ObjectInfo(key, status.st_size, _modified(status))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with storage_errors("delete", path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        path = self._path(key)
        taken = os.path.join(self._root, TRASH, f"{os.path.basename(path)}.{secrets.token_hex(8)}")
        with storage_errors("delete", path), contextlib.suppress(FileNotFoundError):
            if _modified(os.stat(path)) >= before:
                return False
            _make_folder(os.path.dirname(taken))
            os.rename(path, taken)
            # Whoever marked it as new before it was taken away relies on it; whoever comes now does not find it, and stores it again.
            if _modified(os.stat(taken)) >= before:
                self._put_back(taken, path)
                return False
            os.unlink(taken)
            return True
        return False

    def recover(self) -> None:
        trash = os.path.join(self._root, TRASH)
        with storage_errors("write", trash), contextlib.suppress(FileNotFoundError):
            for name in os.listdir(trash):
                self._put_back(os.path.join(trash, name), self._path(object_key(bytes.fromhex(name.partition(".")[0]))))

    def _put_back(self, taken: str, path: str) -> None:
        _link_new(taken, path)
        _sync_folder(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(taken)

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *key.split("/")) if key else self._root

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[int]:
        path = self._path(key)
        with storage_errors("read", path):
            try:
                descriptor = self._open(path)
                try:
                    yield descriptor
                finally:
                    os.close(descriptor)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise missing_object(key) from None

    def _open(self, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            trash, name = os.path.join(self._root, TRASH), os.path.basename(path)
            # Nothing is in the trash that was needed when the collector looked; it may be needed again since, until the collector puts it back.
            for taken in os.listdir(trash) if os.path.isdir(trash) else ():
                if taken.startswith(f"{name}."):
                    with contextlib.suppress(FileNotFoundError):
                        return os.open(os.path.join(trash, taken), os.O_RDONLY | os.O_CLOEXEC)
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _write_and_link(self, path: str, parts: Sequence[Buffer], *, replace: bool = False) -> bool:
        incoming = os.path.join(self._root, INCOMING)
        temporary = os.path.join(incoming, secrets.token_hex(16))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o444)
        except FileNotFoundError:
            _make_folder(incoming)
            descriptor = os.open(temporary, flags, 0o444)
        try:
            try:
                _write_all(descriptor, parts)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            return _move_over(temporary, path) if replace else _link_new(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _modified(status: os.stat_result) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)


def _link_new(source: str, path: str) -> bool:
    try:
        try:
            os.link(source, path)
        except FileNotFoundError:
            _make_folder(os.path.dirname(path))
            os.link(source, path)
    except FileExistsError:
        return False
    return True


def _move_over(source: str, path: str) -> bool:
    try:
        os.rename(source, path)
    except FileNotFoundError:
        _make_folder(os.path.dirname(path))
        os.rename(source, path)
    return True


def _renew(path: str, size: int) -> bool:
    """Marks a file as modified now; false when it is not there or is of another size."""
    try:
        # In this order: a collector that took the file away looks at its time once more before it deletes it.
        os.utime(path)
        return os.stat(path).st_size == size
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    for start in range(0, len(parts), _MAX_PARTS):
        views = [memoryview(part).cast("B") for part in parts[start : start + _MAX_PARTS] if len(part)]
        while views:
            written = os.writev(descriptor, views)
            done = 0
            while done < len(views) and written >= len(views[done]):
                written -= len(views[done])
                done += 1
            del views[:done]
            if views:  # a full disk or a signal can cut a write short
                views[0] = views[0][written:]


def _read_exactly(descriptor: int, key: str, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    found = len(data)
    while found < length and pieces[-1]:  # Linux reads at most 2 GiB at once
        pieces.append(os.pread(descriptor, length - found, offset + found))
        found += len(pieces[-1])
    if found < length:
        raise short_object(key, os.fstat(descriptor).st_size, offset, length)
    return b"".join(pieces)


def _make_folder(folder: str) -> None:
    """Creates `folder` and what is missing above it, each entry durable."""
    try:
        try:
            os.mkdir(folder)
        except FileNotFoundError:
            _make_folder(os.path.dirname(folder))
            os.mkdir(folder)
    except FileExistsError:
        return
    _sync_folder(os.path.dirname(folder))


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
