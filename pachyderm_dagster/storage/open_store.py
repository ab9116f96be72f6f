"""Opening a store by its URL, and the marker that says which storage format it holds."""

import datetime as dt
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.store import MemoryStore, S3Store

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.obstore_store import ObstoreStore

FORMAT_KEY = "format"
FORMAT = b"pachyderm-dagster storage 1\n"
_RETRY_SECONDS = 30


def open_store(url: str) -> ObjectStore:
    """The store at `url`: `file:///folder`, `s3://bucket/prefix` (the usual AWS_* variables), `memory://` (a new, empty one).

    A store without a format marker gets one.

    Raises:
        InvalidError: `storage-url-invalid`.
        StateError: `storage-format`, when another version of this program wrote the store.
    """
    store = _connect(url)
    try:
        found = store.get(FORMAT_KEY)
    except NotFoundError:
        found = FORMAT if store.put_new(FORMAT_KEY, FORMAT) else store.get(FORMAT_KEY)
    if found != FORMAT:
        raise StateError(
            "storage-format",
            f"{url} holds {_marker_text(found)!r}, this version reads {_marker_text(FORMAT)!r}; use the version that wrote it, or another storage URL",
        )
    return store


def _connect(url: str) -> ObjectStore:
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.path and parts.netloc in ("", "localhost"):
            return FolderStore(Path(unquote(parts.path)))
        case "memory":
            return ObstoreStore(MemoryStore(), url, SystemClock())
        case "s3" if parts.netloc:
            return ObstoreStore(_connect_s3(parts.netloc, parts.path.strip("/")), url, SystemClock())
    raise InvalidError("storage-url-invalid", f"storage URL {url!r} is not understood; it takes file:///folder, s3://bucket/prefix or memory://")


def _connect_s3(bucket: str, prefix: str) -> S3Store:
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": True},  # only says that AWS_ENDPOINT_URL may start with http://
        retry_config={"max_retries": 5, "retry_timeout": dt.timedelta(seconds=_RETRY_SECONDS)},
    )


def _marker_text(marker: bytes) -> str:
    return marker[:60].decode(errors="replace").strip()
