"""Writes files below the URL of an object store or a folder, several at once, in bounded memory."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.transfers import in_order
from pachyderm_dagster.storage.buckets import connect_bucket
from pachyderm_dagster.storage.obstore_store import writing
from pachyderm_dagster.storage.storage_urls import shown

PARALLELISM = 16
# So many of the large ones at once, each with one part under way and one being read.
_LARGE_AT_ONCE = 4
_PART_BYTES = 8 * 1024 * 1024
_MOST_PARTS = 9_000  # S3 takes 10,000


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be written: its name below the URL, its size, and what gives its bytes, once for each try."""

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was written."""

    files: int
    bytes: int


def upload(url: str, uploads: Iterable[Upload], check: Callable[[], None] = lambda: None) -> Uploaded:
    """Writes files below `url`, over those that are there by the same name. An object appears as a whole or not at all.

    Args:
        check: called now and then, from several threads; what it raises ends the upload.

    Raises:
        InvalidError: `storage-url-invalid`.
        NotFoundError: `bucket-not-found`.
        StorageError: `storage-denied`.
        UnreachableError: `storage-unreachable`.
    """
    store, large = _connect(url), threading.BoundedSemaphore(_LARGE_AT_ONCE)

    def put(one: Upload) -> Callable[[], int]:
        return lambda: _put(store, shown(url), one, large, check)

    files = size = 0
    for written in in_order(map(put, uploads), PARALLELISM):
        files, size = files + 1, size + written
    return Uploaded(files, size)


def is_there(url: str, name: str) -> bool:
    """Whether a file was written below `url` by this name. Errors as `upload`."""
    with writing(url):
        try:
            obstore.head(_connect(url), name)
        except FileNotFoundError:
            return False
    return True


def _connect(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.scheme != "file":
        return connect_bucket(url)
    folder = Path(unquote(parts.path))
    if folder.is_file():
        raise InvalidError("storage-url-invalid", f"{url} is a file; name a folder")
    try:
        return LocalStore(folder, mkdir=True)
    except (BaseError, OSError, ValueError) as error:
        raise InvalidError("storage-url-invalid", f"the folder of {url} cannot be used: {' '.join(str(error).split())}") from error


def _put(store: ObjectStore, url: str, one: Upload, large: threading.BoundedSemaphore, check: Callable[[], None]) -> int:
    check()
    if one.size <= _PART_BYTES:
        with writing(url):
            obstore.put(store, one.name, b"".join(one.pieces()), use_multipart=False)
        return one.size
    with large, writing(url):
        part = max(_PART_BYTES, -(-one.size // _MOST_PARTS))
        obstore.put(store, one.name, _checked(one.pieces(), check), use_multipart=True, chunk_size=part, max_concurrency=1)
    return one.size


def _checked(pieces: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        check()
        yield piece
