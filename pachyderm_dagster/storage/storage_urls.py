"""Storage URLs in messages, and a variable beside them; apart from `buckets`: most homes have their store in a folder, and need nothing of a bucket."""

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pachyderm_dagster.errors import InvalidError

CREDENTIALS_FOLDER = "PACHYDERM_STORAGE_CREDENTIALS_FOLDER"
"""A variable: the folder with the credentials of S3 as files, by the names of their variables, which somebody renews, as the kubelet does those of a Secret."""
_FORMS = "file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://"


def unknown_url(url: str) -> InvalidError:
    """The error for a URL of no known form."""
    return InvalidError("storage-url-invalid", f"storage URL {shown(url)!r} is not understood; it takes {_FORMS}")


def check_home_url(url: str) -> None:
    """Does nothing for a URL that can name the store of a home; nothing is asked of a service.

    Raises:
        InvalidError: `storage-url-invalid`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # The text is not shown: it may hold a password.
        raise InvalidError("storage-url-invalid", f"the storage URL is no URL; it takes {_FORMS}") from None
    if not _is_known(parts):
        raise unknown_url(url)
    if parts.scheme == "file" and (folder := Path(unquote(parts.path))).exists() and not folder.is_dir():
        raise InvalidError("storage-url-invalid", f"storage URL {shown(url)!r} names something that is no folder; name a folder, which need not exist yet")


def _is_known(parts: SplitResult) -> bool:
    match parts.scheme:
        case "file":
            return bool(parts.path) and parts.netloc in ("", "localhost") and not parts.query
        case "memory":
            return not parts.netloc and not parts.path and not parts.query
        case "s3" | "gs" | "az":
            return bool(parts.netloc) and "@" not in parts.netloc and not parts.fragment
    return False


def shown(url: str) -> str:
    """A URL without what might be secret: user and password, and values behind the `?`."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
