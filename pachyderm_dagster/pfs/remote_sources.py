"""Reads the URLs that `put file -f` takes: http(s), and objects through obstore."""

import contextlib
import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from pachyderm_dagster.errors import InvalidError, NotFoundError, UnreachableError
from pachyderm_dagster.pfs.paths import SEPARATOR
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.storage.chunks import Readable

HTTP_SCHEMES = ("http", "https")
# As obstore calls what users write.
OBJECT_SCHEMES = {"s3": "s3", "s3a": "s3a", "gs": "gs", "gcs": "gs", "az": "az", "as": "az", "azure": "azure", "abfs": "abfs", "abfss": "abfss", "file": "file"}
_TIMEOUT_SECONDS = 60
_PIECE_BYTES = 8 * 1024 * 1024
_THREADS = 16
# Small objects are fetched several at a time, so much of them at most in memory.
_SMALL_BYTES = 4 * 1024 * 1024
_BATCH_BYTES = 64 * 1024 * 1024


class RemoteObject(msgspec.Struct, frozen=True):
    """An object by its name below the URL that was listed; size in bytes."""

    name: str
    size: int


class _Answer(Protocol):
    """What is used of an `http.client.HTTPResponse`."""

    def read(self, size: int, /) -> bytes: ...
    def getheader(self, name: str) -> str | None: ...
    def close(self) -> None: ...


@contextlib.contextmanager
def open_http(url: str) -> Iterator[Readable]:
    """The body of an http(s) URL, after redirects.

    Raises:
        InvalidError: `source-unreadable`, when the server answers with a status of 400 or more, or the URL is malformed.
        UnreachableError: `source-unreachable`, when it does not answer, or its answer ends early (then while reading).
    """
    with contextlib.closing(_ask(url)) as answer:
        yield _Body(url, answer)


def list_objects(url: str) -> list[RemoteObject]:
    """The objects below an object-store URL, in the order of a tree.

    Raises:
        NotFoundError: `source-not-found`, when there are none.
        InvalidError: `source-unreadable`, when the store refuses or the URL is malformed.
        UnreachableError: `source-unreachable`.
    """
    with _translated(url):
        found = [RemoteObject(item["path"], item["size"]) for batch in obstore.list(from_url(_for_obstore(url))) for item in batch]
    files = sorted(without_folder_marks(found), key=lambda one: one.name.replace("/", SEPARATOR))
    if not files:
        raise NotFoundError("source-not-found", f"nothing is below {url}; check the bucket and the prefix")
    return files


def without_folder_marks(objects: Sequence[RemoteObject]) -> list[RemoteObject]:
    """The objects without those by which consoles mark a folder: empty, and of the name of one."""
    folders = {folder for one in objects for folder in _folders(one.name)}
    return [one for one in objects if one.size or one.name not in folders]


def read_objects(url: str, objects: Iterable[RemoteObject]) -> Iterator[tuple[RemoteObject, Readable]]:
    """The objects below a URL with their content, in order; each is to be read before the next is asked for. Raises as `list_objects` does."""
    with _translated(url):
        store = from_url(_for_obstore(url))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="objects") as pool:
        for batch in _batches(objects):
            if batch[0].size > _SMALL_BYTES:
                yield batch[0], _open(url, store, batch[0].name)
                continue
            for one, data in zip(batch, pool.map(lambda one: _get(url, store, one.name), batch), strict=True):
                yield one, io.BytesIO(data)


@contextlib.contextmanager
def open_object(url: str) -> Iterator[Readable]:
    """One object. Raises as `list_objects` does, also while reading."""
    folder, _, name = url.rpartition("/")
    with _translated(url):
        store = from_url(_for_obstore(folder))
    yield _open(url, store, name)


def _ask(url: str) -> _Answer:
    try:
        answer: _Answer = urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise InvalidError("source-unreadable", f"{url} answered {error.code} {error.reason}; check the URL and what it asks of a reader") from error
    except urllib.error.URLError as error:
        raise UnreachableError("source-unreachable", f"{url} does not answer: {error.reason}; try again") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise InvalidError("source-unreadable", f"{url} cannot be asked for: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError("source-unreachable", f"{url} does not answer: {error}; try again") from error
    return answer


class _Body:
    """The body of an answer, which is to be as long as it was announced."""

    def __init__(self, url: str, answer: _Answer) -> None:
        self._url = url
        self._answer = answer
        length = answer.getheader("Content-Length")
        self._missing = int(length) if length is not None and length.isdigit() else None

    def read(self, size: int, /) -> bytes:
        try:
            data = self._answer.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError("source-unreachable", f"{self._url} stopped answering: {error}; try again") from error
        if self._missing is not None:
            self._missing -= len(data)
            if not data and size and self._missing > 0:
                raise UnreachableError("source-unreachable", f"{self._url} ended {self._missing:,} bytes early; try again")
        return data


def _open(url: str, store: ObjectStore, name: str) -> Readable:
    return Pieces(_pieces(url, store, name))


def _pieces(url: str, store: ObjectStore, name: str) -> Iterator[bytes]:
    with _translated(url):
        for piece in obstore.get(store, name).stream(min_chunk_size=_PIECE_BYTES):
            yield bytes(piece)


def _get(url: str, store: ObjectStore, name: str) -> bytes:
    with _translated(url):
        return obstore.get(store, name).bytes().to_bytes()


def _batches(objects: Iterable[RemoteObject]) -> Iterator[list[RemoteObject]]:
    """Large objects alone, small ones together."""
    batch: list[RemoteObject] = []
    size = 0
    for one in objects:
        if batch and (one.size > _SMALL_BYTES or size + one.size > _BATCH_BYTES or batch[0].size > _SMALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


def _folders(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _for_obstore(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{OBJECT_SCHEMES[scheme.lower()]}://{rest}"


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("source-not-found", f"{url} does not exist, or is a folder, which takes -r") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise InvalidError("source-unreadable", f"{url} refuses access: {_first_line(error)}; check the credentials") from error
    except BaseError as error:
        raise UnreachableError("source-unreachable", f"{url} cannot be read: {_first_line(error)}; check the URL and try again") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
