"""Storage URLs in messages; apart from `buckets`, because most homes have their store in a folder and need nothing that reaches a bucket."""

from urllib.parse import urlsplit

from pachyderm_dagster.errors import InvalidError

_FORMS = "file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://"


def unknown_url(url: str) -> InvalidError:
    """The error for a URL of no known form."""
    return InvalidError("storage-url-invalid", f"storage URL {shown(url)!r} is not understood; it takes {_FORMS}")


def shown(url: str) -> str:
    """A URL without what might be secret: user and password, and values behind the `?`."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
