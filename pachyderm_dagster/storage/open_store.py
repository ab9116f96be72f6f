"""Opening a store by its URL, and the marker that says which storage format it holds."""

import importlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.storage.folder_store import FolderStore
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.storage_urls import shown, unknown_url

FORMAT_KEY = "format"
FORMAT = b"pachyderm-dagster storage 1\n"


def open_store(url: str) -> ObjectStore:
    """The store at `url`: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` (settings as in `buckets`),
    or `memory://` (a new, empty one).

    A store without a format marker gets one.

    Raises:
        InvalidError: `storage-url-invalid`.
        NotFoundError: `bucket-not-found`.
        StorageError: `storage-denied`.
        UnreachableError: `storage-unreachable`.
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
            f"{shown(url)} holds {_marker_text(found)!r}, this version reads {_marker_text(FORMAT)!r}; use the version that wrote it, or another storage URL",
        )
    return store


def _connect(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.scheme != "file":
        # Imported by name because obstore takes a while, and most homes have their store in a folder.
        bucket: ObjectStore = importlib.import_module("pachyderm_dagster.storage.obstore_store").open_bucket(url)
        return bucket
    if not parts.path or parts.netloc not in ("", "localhost") or parts.query:
        raise unknown_url(url)
    return FolderStore(Path(unquote(parts.path)))


def _marker_text(marker: bytes) -> str:
    return marker[:60].decode(errors="replace").strip()
