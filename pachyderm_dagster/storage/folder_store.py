"""Objects as files of a local folder: temporary file, fsync, hard link to the final name, fsync of the folder.

obstore's local store is not used for writing because it does not fsync.
"""

import contextlib
import datetime as dt
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.objects import ObjectInfo, missing_object, object_key, parse_object_id, parts_of, short_object
from pachyderm_dagster.storage.system_errors import storage_errors

INCOMING = "incoming"
TRASH = "trash"
_ARRIVALS = 64  # files that are written and not durable yet: about 256 MiB of chunks in the page cache
_SYNCING = 4
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
        path = self.path_of(key)
        folder = os.path.dirname(path)
        with storage_errors("write", path):
            created = not os.path.exists(path) and self._write_and_link(path, parts_of(data))
            # Also when somebody else made it: that writer may not have come to its own fsync yet.
            _sync_folder(folder)
        return created

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        path = self.path_of(key)
        folder = os.path.dirname(path)
        parts = parts_of(data)
        with storage_errors("write", path):
            if _renew(path, sum(len(part) for part in parts)):
                _sync_folder(folder)
                return False
            self._write_and_link(path, parts, replace=True)
            _sync_folder(folder)
        return True

    def begin_batch(self) -> "FolderBatch":
        return FolderBatch(self)

    def keep_later(self, key: str, data: Buffer | Sequence[Buffer]) -> "Arrival":
        """Writes a file for `key` that has yet to arrive, or finds it there and marks it as new. For `FolderBatch`."""
        path = self.path_of(key)
        parts = parts_of(data)
        with storage_errors("write", path):
            if _renew(path, sum(len(part) for part in parts)):
                return Arrival(path, None, -1)
            temporary, descriptor = self._create_temporary()
            try:
                _write_all(descriptor, parts)
            except BaseException:
                os.close(descriptor)
                os.unlink(temporary)
                raise
            return Arrival(path, temporary, descriptor)

    def get(self, key: str) -> bytes:
        with self._reading(key) as descriptor:
            return _read_exactly(descriptor, key, 0, os.fstat(descriptor).st_size)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self._reading(key) as descriptor:
            return _read_exactly(descriptor, key, offset, length)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        for key in _keys_below(self._root, f"{prefix}/" if prefix else "", after):
            try:
                status = os.stat(os.path.join(self._root, key))
            except FileNotFoundError:
                continue  # deleted, or moved out of incoming/, since the folder was read
            yield ObjectInfo(key, status.st_size, _modified(status))

    def delete(self, *keys: str) -> None:
        for path in map(self.path_of, keys):
            with storage_errors("delete", path), contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        path = self.path_of(key)
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
                object_id = parse_object_id(name.partition(".")[0])
                if object_id is not None:
                    self._put_back(os.path.join(trash, name), self.path_of(object_key(object_id)))

    def _put_back(self, taken: str, path: str) -> None:
        _link_new(taken, path)
        _sync_folder(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(taken)

    def path_of(self, key: str) -> str:
        """Where the object of a key lies."""
        return os.path.join(self._root, *key.split("/")) if key else self._root

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[int]:
        path = self.path_of(key)
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
        temporary, descriptor = self._create_temporary()
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

    def _create_temporary(self) -> tuple[str, int]:
        incoming = os.path.join(self._root, INCOMING)
        temporary = os.path.join(incoming, secrets.token_hex(16))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return temporary, os.open(temporary, flags, 0o444)
        except FileNotFoundError:
            _make_folder(incoming)
            return temporary, os.open(temporary, flags, 0o444)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object that is to be at `path`; `temporary` (None when it is there already) is open as `descriptor` and not durable yet."""

    path: str
    temporary: str | None
    descriptor: int

    def finish(self) -> None:
        """Makes the bytes durable, then gives them their name: what has its name is whole."""
        if self.temporary is None:
            return
        with storage_errors("write", self.path):
            try:
                try:
                    os.fsync(self.descriptor)
                finally:
                    os.close(self.descriptor)
                _move_over(self.temporary, self.path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.temporary)


class FolderBatch:
    """Objects that are written at once, and made durable by threads of their own meanwhile; each folder once, at the end."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._begun: dict[str, Future[None] | None] = {}
        self._room = threading.BoundedSemaphore(_ARRIVALS)
        self._error: StorageError | None = None

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        with self._lock:
            if key in self._begun:
                return False
            self._begun[key] = None
        self._room.acquire()
        try:
            arrival = self._store.keep_later(key, data)
            with self._lock:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(_SYNCING, thread_name_prefix="syncing")
                future = self._begun[key] = self._pool.submit(arrival.finish)
        except BaseException:
            self._room.release()
            with self._lock:
                self._begun.pop(key, None)
            raise
        future.add_done_callback(lambda _: self._room.release())
        return arrival.temporary is not None

    def flush(self) -> None:
        with self._lock:
            begun, self._begun = self._begun, {}
            pool = self._pool
        try:
            for future in begun.values():
                if future is not None:
                    future.result()
            if pool is not None:
                folders = {os.path.dirname(self._store.path_of(key)) for key in begun}
                list(pool.map(_sync_object_folder, folders))
        except StorageError as error:
            self._error = self._error or error
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def _sync_object_folder(folder: str) -> None:
    with storage_errors("write", folder):
        _sync_folder(folder)


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
    """Gives a file its name, in the place of a damaged one too. One as large stays: somebody may have marked it as new, later than this was written."""
    if not _link_new(source, path) and not _renew(path, os.stat(source).st_size):
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


def _keys_below(root: str, folder: str, after: str) -> Iterator[str]:
    """The keys of the files below a folder, which is empty or ends with `/`, behind a key. Only folders that may hold such are read."""
    for key in _keys_in(root, folder):
        if not key.endswith("/"):
            if key > after:
                yield key
        elif key > after or after.startswith(key):
            yield from _keys_below(root, key, after)


def _keys_in(root: str, folder: str) -> list[str]:
    """What lies in a folder, in the order of keys: those of a folder begin with its name and a `/`, by which it is found here."""
    path = os.path.join(root, folder)
    with storage_errors("read", path):
        try:
            with os.scandir(path) as found:
                return sorted(f"{folder}{entry.name}/" if entry.is_dir(follow_symlinks=False) else f"{folder}{entry.name}" for entry in found)
        except (FileNotFoundError, NotADirectoryError):
            return []
