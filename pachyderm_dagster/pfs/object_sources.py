"""Reads objects of object stores, one or all below a URL, through obstore."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
import obstore
from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.pfs.paths import SEPARATOR
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.pfs.transfers import Transfers, in_order

# As obstore calls what users write.
SCHEMES = {
    "s3": "s3",
    "s3a": "s3a",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "as": "az",
    "azure": "azure",
    "wasb": "az",
    "abfs": "abfs",
    "abfss": "abfss",
    "file": "file",
}
_PIECE_BYTES = 8 * 1024 * 1024
_PIECES_AHEAD = 8
_RETRY_SECONDS = 30

T = TypeVar("T")


class RemoteObject(msgspec.Struct, frozen=True):
    """An object by its name below the URL that was listed; size in bytes. `tag` changes with its content."""

    name: str
    size: int
    tag: str | None = None


class ObjectDownload:
    """One object of a store, read in ranges; a range that breaks is asked for again.

    Args:
        url: of the store, for messages.
        found: what a listing said of it; asked for when it is not given.

    Reading raises:
        NotFoundError: `source-not-found`.
        InvalidError: `source-unreadable`, when the store refuses.
        UnreachableError: `source-unreachable`.
        ConflictError: `source-changed`, when it was written meanwhile.
    """

    def __init__(self, store: ObjectStore, url: str, name: str, transfers: Transfers, found: RemoteObject | None = None) -> None:
        self._store = store
        self._url = f"{url.rstrip('/')}/{name}"
        self._name = name
        self._transfers = transfers
        self._found = found
        self._pieces: Pieces | None = None

    def fetch_head(self) -> None:
        if self._found is None:
            meta = self._try(lambda: obstore.head(self._store, self._name))
            self._found = RemoteObject(self._name, meta["size"], meta["e_tag"])
        found, first = self._found, min(self._found.size, self._transfers.head_bytes)
        head = self._range(found, 0, first) if first else b""
        self._pieces = Pieces(self._from(found, head))

    def read(self, size: int, /) -> bytes:
        if self._pieces is None:
            self.fetch_head()
        assert self._pieces is not None
        return self._pieces.read(size)

    def close(self) -> None:
        """Nothing is held: every range is a request of its own."""

    def _from(self, found: RemoteObject, head: bytes) -> Iterator[bytes]:
        yield head
        starts = range(len(head), found.size, _PIECE_BYTES)
        calls = (lambda start=start: self._range(found, start, min(start + _PIECE_BYTES, found.size)) for start in starts)
        yield from in_order(calls, min(self._transfers.parallelism, _PIECES_AHEAD))

    def _range(self, found: RemoteObject, start: int, stop: int) -> bytes:
        def get() -> bytes:
            options: obstore.GetOptions = {"range": (start, stop)}
            if found.tag is not None:
                options["if_match"] = found.tag
            return obstore.get(self._store, self._name, options=options).bytes().to_bytes()

        return self._try(get)

    def _try(self, call: Callable[[], T]) -> T:
        def translated() -> T:
            with _translated(self._url):
                return call()

        return self._transfers.keep_trying(translated)


def list_objects(url: str) -> list[RemoteObject]:
    """The objects below an object-store URL, in the order of a tree.

    Raises:
        NotFoundError: `source-not-found`, when there are none.
        InvalidError: `source-unreadable`, when the store refuses or the URL is malformed.
        UnreachableError: `source-unreachable`.
    """
    files = list_objects_if_any(url)
    if not files:
        raise NotFoundError("source-not-found", f"nothing is below {url}; check the bucket and the prefix")
    return files


def list_objects_if_any(url: str) -> list[RemoteObject]:
    """As `list_objects`, where there may be none."""
    with _translated(url):
        found = [RemoteObject(item["path"], item["size"], item["e_tag"]) for batch in obstore.list(_connect(url)) for item in batch]
    return sorted(without_folder_marks(found), key=lambda one: one.name.replace("/", SEPARATOR))


def without_folder_marks(objects: Sequence[RemoteObject]) -> list[RemoteObject]:
    """The objects without those by which consoles mark a folder: empty, and of the name of one."""
    folders = {folder for one in objects for folder in _folders(one.name)}
    return [one for one in objects if one.size or one.name not in folders]


def downloads_below(url: str, objects: Sequence[RemoteObject], transfers: Transfers) -> Iterator[ObjectDownload]:
    """The listed objects below a URL, to be read. Raises InvalidError `source-unreadable` for a malformed URL."""
    with _translated(url):
        store = _connect(url)
    return (ObjectDownload(store, url, one.name, transfers, one) for one in objects)


def object_download(url: str, transfers: Transfers) -> ObjectDownload:
    """One object, to be read. Raises InvalidError `source-unreadable` for a malformed URL."""
    folder, _, name = url.rpartition("/")
    with _translated(url):
        store = _connect(folder)
    return ObjectDownload(store, folder, name, transfers)


def _connect(url: str) -> ObjectStore:
    scheme, mark, rest = url.partition("://")
    if not mark or not rest.strip("/"):
        raise InvalidError("source-unreadable", f"{url} names no bucket; write {scheme.rstrip(':/')}://bucket/path")
    retries: obstore.store.RetryConfig = {"max_retries": 3, "retry_timeout": dt.timedelta(seconds=_RETRY_SECONDS)}
    # It only says that an endpoint set by the environment may start with http://; folders have no client.
    options: obstore.store.ClientConfig = {"allow_http": True}
    address = f"{SCHEMES[scheme.lower()]}://{rest}"
    return from_url(address) if scheme.lower() == "file" else from_url(address, retry_config=retries, client_options=options)


def _folders(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except PachydermError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError("source-not-found", f"{url} does not exist, or is a folder, which takes -r") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise InvalidError("source-unreadable", f"{url} refuses access: {_first_line(error)}; check the credentials") from error
    except (InvalidPathError, ValueError) as error:
        raise InvalidError("source-unreadable", f"{url} cannot be asked for: {_first_line(error)}") from error
    except PreconditionError as error:
        raise ConflictError("source-changed", f"{url} was written while it was read; put it again") from error
    except BaseError as error:
        if "404 Not Found" in str(error):  # to a listing, which finds nothing where only the objects are missing
            raise NotFoundError("source-not-found", f"{url} names a bucket that does not exist; correct the name, or the endpoint") from error
        raise UnreachableError("source-unreachable", f"{url} cannot be read: {_first_line(error)}; check the URL and try again") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
